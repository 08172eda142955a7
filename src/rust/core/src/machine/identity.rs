//! Our own identity: how far it is, its private keys, and its signature of this device.

use zeroize::Zeroizing;

use super::{Machine, Millis, Work, devices, own_account};
use crate::{
    error::Result,
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::{SigningKey, Usage},
        recovery_key, signing,
    },
    store::records::{Identity, NewIdentity, OwnIdentity, PrivateKeys},
};

/// What has become of an identity that was made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderWay {
    /// The server returns what it returned when the identity was made: it can be published.
    Resumable,
    /// The server returns it already.
    Published,
    /// The server has returned it before: it is only to be put into secret storage.
    Unstored,
    /// The server returns another, which somebody else made meanwhile.
    Overtaken,
}

impl UnderWay {
    /// What has become of `new`, where the server returns the master key `shown`.
    pub(super) fn of(new: &NewIdentity, shown: Option<&String>) -> Self {
        let made = new.private.master.as_ref().map(SigningKey::public);
        match shown {
            Some(_) if shown == made.as_ref() && shown == new.replaces.as_ref() => Self::Unstored,
            Some(_) if shown == made.as_ref() => Self::Published,
            _ if shown == new.replaces.as_ref() => Self::Resumable,
            _ => Self::Overtaken,
        }
    }

    /// The name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            UnderWay::Resumable => "resumable",
            UnderWay::Published => "published",
            UnderWay::Unstored => "unstored",
            UnderWay::Overtaken => "overtaken",
        }
    }
}

/// How far our own identity is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityStatus {
    /// The master key the server returns.
    pub published: Option<String>,
    /// It is another than the one that was pinned.
    pub changed: bool,
    /// Why what the server returns is no identity at all, if it is none.
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
    /// How far our own identity is, by what the server last returned.
    ///
    /// # Errors
    /// Those of the store.
    pub fn identity_status(&mut self) -> Result<IdentityStatus> {
        self.read(|work| status(work))
    }

    /// The body of `POST /keys/signatures/upload` by which our identity and this device vouch for
    /// each other. None when the self-signing key is not held.
    ///
    /// # Errors
    /// Those of the store.
    pub fn signatures_upload(&mut self) -> Result<Option<String>> {
        self.read(|work| {
            let own = own_identity(work)?;
            let user_id = work.own.user_id.clone();
            let Some(shown) = identity(work, &user_id)? else { return Ok(None) };
            if !holds(&own.private, Some(&shown), Usage::SelfSigning) {
                return Ok(None);
            }
            let Some(self_signing) = &own.private.self_signing else { return Ok(None) };
            let mut device = Json::parse_object(&work.own.device_keys)?;
            self_signing.sign(&mut device, &user_id)?;
            let mut signed = Object::from([(work.own.device_id.clone(), Json::Object(device))]);
            if holds(&own.private, Some(&shown), Usage::Master) {
                let mut master = Json::parse_object(&shown.master)?;
                master.remove("signatures");
                sign_with_device(work, &mut master)?;
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
        self.read(|work| Ok(own_identity(work)?.recovery_key.map(|key| recovery_key::encode(&key))))
    }

    /// Records that the owner has saved the recovery key. It is forgotten here.
    ///
    /// # Errors
    /// Those of the store.
    pub fn forget_recovery_key(&mut self, now: Millis) -> Result<()> {
        self.work(now, |work| {
            let mut own = own_identity(work)?;
            own.recovery_key = None;
            work.tx.put_single(&own)
        })
    }
}

pub(super) fn status(work: &Work<'_>) -> Result<IdentityStatus> {
    let own = own_identity(work)?;
    let shown = identity(work, &work.own.user_id)?;
    let device = devices::own_device(work)?;
    let held = Usage::ALL.map(|usage| holds(&own.private, shown.as_ref(), usage));
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
}

pub(super) fn own_identity(work: &Work<'_>) -> Result<OwnIdentity> {
    Ok(work.tx.get_single()?.unwrap_or_default())
}

pub(super) fn identity(work: &Work<'_>, user_id: &str) -> Result<Option<Identity>> {
    work.tx.get(&[user_id.into()])
}

/// Whether the private key for `usage` is held, and is that of the identity shown.
pub(super) fn holds(private: &PrivateKeys, shown: Option<&Identity>, usage: Usage) -> bool {
    let published = shown.and_then(|shown| public(shown, usage));
    published.is_some() && private.get(usage).map(SigningKey::public) == published
}

pub(super) fn sign_with_device(work: &mut Work<'_>, object: &mut Object) -> Result<()> {
    let (user_id, key_id) = (work.own.user_id.clone(), format!("ed25519:{}", work.own.device_id));
    let account = own_account::account(work)?;
    signing::sign(object, &user_id, &key_id, |bytes| account.sign(bytes))
}

pub(super) fn public(identity: &Identity, usage: Usage) -> Option<String> {
    match usage {
        Usage::Master => Some(identity.master_key.clone()),
        Usage::SelfSigning => identity.self_signing_key.clone(),
        Usage::UserSigning => identity.user_signing_key.clone(),
    }
}

/// The identity of our user, if it has signed this device and nothing is wrong with it.
pub(super) fn signing_identity(work: &Work<'_>) -> Result<Option<Identity>> {
    let Some(shown) = identity(work, &work.own.user_id)? else { return Ok(None) };
    let own = own_identity(work)?;
    if shown.changed() || own.refused.is_some() || own.new.is_some() {
        return Ok(None);
    }
    let signed_by = devices::own_device(work)?.and_then(|device| device.signed_by);
    let is_signed = signed_by.is_some() && signed_by == shown.self_signing_key;
    Ok(is_signed.then_some(shown))
}
