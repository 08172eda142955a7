//! Our own identity: how far it is, its private keys, and its signature of this device.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{Machine, Work, identity_creation::UnderWay};
use crate::{
    error::{Error, Kind, Result},
    judgement::secret_storage::{SecretStorage, StorageSecret},
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::{SigningKey, Usage},
        recovery_key, signing,
    },
    store::records::{Device, Identity, OwnIdentity, PrivateKeys},
};

/// How far our own identity is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityStatus {
    /// The master key the server shows.
    pub published: Option<String>,
    /// It is another than the one that was pinned.
    pub changed: bool,
    /// Why what the server shows is no identity at all, if it is none.
    pub refused: Option<String>,
    /// Whether the private master, self-signing and user-signing keys of it are held here.
    pub held: [bool; 3],
    /// This device is signed by it.
    pub device_signed: bool,
    /// An identity that was made and is not published whole.
    pub under_way: Option<UnderWay>,
    /// There is a recovery key that nobody has said to have saved.
    pub recovery_key: bool,
}

impl Machine {
    /// How far our own identity is, by what the server was last heard to show.
    ///
    /// # Errors
    /// Those of the store.
    pub fn identity_status(&mut self) -> Result<IdentityStatus> {
        self.work(0, |work| {
            let own = work.own_identity()?;
            let shown = work.identity(&work.own.user_id)?;
            let device = work.own_device()?;
            let held = Usage::ALL.map(|usage| work.holds(&own.private, shown.as_ref(), usage));
            let master = shown.as_ref().map(|shown| &shown.master_key);
            let under_way = own.new.as_ref().map(|new| UnderWay::of(new, master));
            let self_signing = shown.as_ref().and_then(|shown| shown.self_signing_key.as_ref());
            Ok(IdentityStatus {
                published: shown.as_ref().map(|shown| shown.master_key.clone()),
                changed: shown.as_ref().is_some_and(Identity::changed),
                refused: own.refused,
                held,
                device_signed: self_signing.is_some()
                    && device.and_then(|device| device.signed_by).as_ref() == self_signing,
                under_way,
                recovery_key: own.recovery_key.is_some(),
            })
        })
    }

    /// Opens secret storage and takes the private parts of the published identity from it: all that
    /// are there, and at least the one that signs devices.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when the key is mistyped or another's; [`Kind::SecretStorage`] when a
    /// secret does not open; [`Kind::Identity`] when one is not of the identity the server shows.
    pub fn import_identity(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<()> {
        let opened = storage.open(secret)?;
        self.work(0, |work| {
            let shown = work.identity(&work.own.user_id)?.ok_or_else(|| {
                Error::new(Kind::Identity, "The server shows no identity of this user.")
            })?;
            let mut own = work.own_identity()?;
            // Keys of an identity that was replaced vouch for nothing any more.
            for usage in Usage::ALL {
                if !work.holds(&own.private, Some(&shown), usage) {
                    own.private.forget(usage);
                }
            }
            let mut found = BTreeSet::new();
            for usage in Usage::ALL {
                let Some(text) = opened.secret(&usage.secret_name())? else { continue };
                let private = SigningKey::from_base64(&text)?;
                if Some(private.public()) != public(&shown, usage) {
                    return Err(Error::new(
                        Kind::Identity,
                        format!(
                            "The {} key in secret storage is not the one the server shows. \
                             Another client made a new identity, or the server shows a false one.",
                            usage.as_str()
                        ),
                    ));
                }
                own.private.set(usage, private);
                found.insert(usage);
            }
            if !found.contains(&Usage::SelfSigning) {
                return Err(Error::new(
                    Kind::SecretStorage,
                    "Secret storage does not hold the key that signs devices.",
                ));
            }
            if found.contains(&Usage::Master) && shown.changed() {
                // Whoever has the private part says whose identity it is.
                let pinned = shown.master_key.clone();
                work.tx.put(&Identity { pinned, ..shown })?;
            }
            work.put_own_identity(&own)
        })
    }

    /// The body of `POST /keys/signatures/upload` by which our identity and this device vouch for
    /// each other. None when the self-signing key is not held.
    ///
    /// # Errors
    /// Those of the store.
    pub fn signatures_upload(&mut self) -> Result<Option<String>> {
        self.work(0, |work| {
            let own = work.own_identity()?;
            let user_id = work.own.user_id.clone();
            let Some(shown) = work.identity(&user_id)? else { return Ok(None) };
            if !work.holds(&own.private, Some(&shown), Usage::SelfSigning) {
                return Ok(None);
            }
            let Some(self_signing) = &own.private.self_signing else { return Ok(None) };
            let mut device = Json::parse_object(&work.own.device_keys)?;
            self_signing.sign(&mut device, &user_id)?;
            let mut signed = Object::from([(work.own.device_id.clone(), Json::Object(device))]);
            if work.holds(&own.private, Some(&shown), Usage::Master) {
                let mut master = Json::parse_object(&shown.master)?;
                master.remove("signatures");
                work.sign_with_device(&mut master)?;
                signed.insert(shown.master_key, Json::Object(master));
            }
            let body = Object::from([(user_id, Json::Object(signed))]);
            Json::Object(body).canonical(Numbers::Canonical).map(Some)
        })
    }

    /// The recovery key that nobody has said to have saved.
    ///
    /// # Errors
    /// Those of the store.
    pub fn recovery_key(&mut self) -> Result<Option<Zeroizing<String>>> {
        self.work(0, |work| {
            Ok(work.own_identity()?.recovery_key.map(|key| recovery_key::encode(&key)))
        })
    }

    /// Takes in that the owner has saved the recovery key. It is forgotten here.
    ///
    /// # Errors
    /// Those of the store.
    pub fn recovery_key_saved(&mut self) -> Result<()> {
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            own.recovery_key = None;
            work.tx.put_single(&own)
        })
    }
}

impl Work<'_> {
    pub(super) fn own_identity(&self) -> Result<OwnIdentity> {
        Ok(self.tx.get_single()?.unwrap_or_default())
    }

    pub(super) fn identity(&self, user_id: &str) -> Result<Option<Identity>> {
        self.tx.get(&[user_id.into()])
    }

    pub(super) fn own_device(&self) -> Result<Option<Device>> {
        self.tx.get(&[self.own.user_id.as_str().into(), self.own.device_id.as_str().into()])
    }

    /// Whether the private key for `usage` is held, and is that of the identity shown.
    pub(super) fn holds(
        &self,
        private: &PrivateKeys,
        shown: Option<&Identity>,
        usage: Usage,
    ) -> bool {
        let published = shown.and_then(|shown| public(shown, usage));
        published.is_some() && private.get(usage).map(SigningKey::public) == published
    }

    pub(super) fn sign_with_device(&mut self, object: &mut Object) -> Result<()> {
        let (user_id, key_id) =
            (self.own.user_id.clone(), format!("ed25519:{}", self.own.device_id));
        let account = self.account()?;
        signing::sign(object, &user_id, &key_id, |bytes| account.sign(bytes))
    }
}

pub(super) fn public(identity: &Identity, usage: Usage) -> Option<String> {
    match usage {
        Usage::Master => Some(identity.master_key.clone()),
        Usage::SelfSigning => identity.self_signing_key.clone(),
        Usage::UserSigning => identity.user_signing_key.clone(),
    }
}
