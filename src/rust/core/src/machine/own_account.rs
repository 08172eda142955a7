//! Our own account: made once, bound to one user and device, never replaced.

use vodozemac::{
    Curve25519PublicKey,
    olm::{Account, IdentityKeys},
};

use super::{Machine, Work};
use crate::{
    error::{Error, Kind, Result},
    judgement::identifier,
    primitives::{account, keys, seal::random_bytes},
    store::{
        Transaction,
        records::{Binding, Device, LocalTrust, OwnAccount},
    },
};

impl Machine {
    /// The public keys of this device. The account is made when it is first asked for, and stays.
    ///
    /// # Errors
    /// Those of the store.
    pub fn identity_keys(&mut self) -> Result<IdentityKeys> {
        self.store.transaction(|tx| match tx.get_single::<Binding>()? {
            // To open the account means to derive the public half of every one-time key in it.
            Some(bound) => Ok(IdentityKeys {
                ed25519: keys::ed25519(&bound.signing_key)?,
                curve25519: keys::curve25519(&bound.identity_key)?,
            }),
            None => Ok(account_of(tx)?.account.identity_keys()),
        })
    }

    /// The user and device this store belongs to, once it is bound.
    ///
    /// # Errors
    /// Those of the store.
    pub fn binding(&mut self) -> Result<Option<Binding>> {
        self.store.transaction(|tx| tx.get_single())
    }

    /// Binds this store to a user and device, or checks that it is bound to these. The response to
    /// `/account/whoami` decides who we are, not what a caller remembers.
    ///
    /// # Errors
    /// [`Kind::StoreBinding`] when it belongs to others.
    pub fn bind(&mut self, user_id: &str, device_id: &str) -> Result<Binding> {
        if !identifier::is_user_id(user_id) || !identifier::is_sound(device_id) {
            return Err(Error::new(Kind::Argument, "A user id and a device id are wanted."));
        }
        self.store.transaction(|tx| match tx.get_single::<Binding>()? {
            Some(bound) if bound.user_id == user_id && bound.device_id == device_id => Ok(bound),
            Some(bound) => Err(Error::new(
                Kind::StoreBinding,
                format!(
                    "This store belongs to {}, device {}; the login is {user_id}, device \
                     {device_id}. Log in with the store's device id, or use another store: one \
                     store cannot serve two devices.",
                    bound.user_id, bound.device_id
                ),
            )),
            None => bind_account(tx, user_id, device_id),
        })
    }

    /// Signs with this device's Ed25519 key.
    ///
    /// # Errors
    /// Those of the store.
    pub fn sign(&mut self, message: &[u8]) -> Result<String> {
        self.store.transaction(|tx| Ok(account_of(tx)?.account.sign(message).to_base64()))
    }

    /// The one-time keys that are not confirmed by the server yet, as ids and public keys.
    ///
    /// # Errors
    /// Those of the store.
    pub fn unpublished_one_time_keys(&mut self) -> Result<Vec<(String, String)>> {
        self.store.transaction(|tx| {
            let keys = account_of(tx)?.account.one_time_keys();
            let mut keys: Vec<_> =
                keys.into_iter().map(|(id, key)| (id.to_base64(), key.to_base64())).collect();
            keys.sort();
            Ok(keys)
        })
    }
}

/// Binds the account in the store, which is made if there is none, to a user and device.
pub(super) fn bind_account(
    tx: &Transaction<'_>,
    user_id: &str,
    device_id: &str,
) -> Result<Binding> {
    let account = account_of(tx)?.account;
    let bound = Binding {
        user_id: user_id.to_owned(),
        device_id: device_id.to_owned(),
        identity_key: account.curve25519_key().to_base64(),
        signing_key: account.ed25519_key().to_base64(),
        device_keys: account::device_keys(&account, user_id, device_id)?,
    };
    tx.put_single(&bound)?;
    // So that what we sent ourselves is judged like everything else.
    tx.put(&own_device(&bound))?;
    Ok(bound)
}

fn own_device(own: &Binding) -> Device {
    Device {
        user_id: own.user_id.clone(),
        device_id: own.device_id.clone(),
        identity_key: own.identity_key.clone(),
        signing_key: own.signing_key.clone(),
        display_name: None,
        device_keys: own.device_keys.clone(),
        signed_by: None,
        local: LocalTrust::Unset,
        first_seen_at: 0,
        deleted: false,
        key_changed: false,
        claim_failures: 0,
        claim_retry_at: 0,
        told_no_olm: false,
        dehydrated: false,
    }
}

/// The characters of a device id: each stands for five bits.
const DEVICE_ID_CHARACTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new device id. With OAuth 2.0 the client chooses it; the server may refuse one of less than 10
/// characters. (Client-server API, "Device ID allocation".)
///
/// # Errors
/// [`Kind::Internal`] where the system gives no random numbers.
pub fn random_device_id() -> Result<String> {
    let bytes = random_bytes::<12>()?;
    let letter = |byte: &u8| char::from(DEVICE_ID_CHARACTERS[usize::from(byte % 32)]);
    Ok(bytes.iter().map(letter).collect())
}

fn account_of(tx: &Transaction<'_>) -> Result<OwnAccount> {
    if let Some(account) = tx.get_single()? {
        return Ok(account);
    }
    let made = OwnAccount { account: Account::new() };
    tx.put_single(&made)?;
    Ok(made)
}

/// The account, to read.
pub(super) fn account<'w>(work: &'w mut Work<'_>) -> Result<&'w Account> {
    Ok(&*loaded(work)?)
}

/// The account, to change; it is written when the transaction ends.
pub(super) fn account_mut<'w>(work: &'w mut Work<'_>) -> Result<&'w mut Account> {
    work.account_changed = true;
    loaded(work)
}

/// Takes a one-time key from the account, for good. False where it is not there any more.
pub(super) fn use_up(work: &mut Work<'_>, one_time_key: Curve25519PublicKey) -> Result<bool> {
    Ok(account_mut(work)?.remove_one_time_key(one_time_key).is_some())
}

fn loaded<'w>(work: &'w mut Work<'_>) -> Result<&'w mut Account> {
    let account = match work.account.take() {
        Some(account) => account,
        None => account_of(work.tx)?,
    };
    Ok(&mut work.account.insert(account).account)
}
