//! What the identities of users are worth, and the trust in their devices.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    Machine, Work, devices,
    effects::{self, Effect},
    identity,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        cross_signing::is_signed_by,
        keys_query,
        trust::{self, Owner, Trust},
    },
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::{SigningKey, Usage},
        keys,
    },
    store::{
        Query,
        records::{Device, Identity, OwnIdentity},
    },
};

/// What is known of the identity of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserTrust {
    /// The master key the server returns.
    pub master_key: Option<String>,
    /// It is the one that was pinned, and we verified it, or it is ours.
    pub verified: bool,
    /// The pinned one was verified.
    pub was_verified: bool,
    /// It is another than the one that was pinned.
    pub changed: bool,
}

/// The trust in a device, and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceTrust {
    /// The trust.
    pub trust: Trust,
    /// The identity that the server returns for its owner signed it.
    pub signed_by_owner: bool,
    /// An identity that we verified, or that is ours, signed it.
    pub cross_signing_verified: bool,
}

impl Machine {
    /// What is known of the identities of users, in their order.
    ///
    /// # Errors
    /// Those of the store.
    pub fn user_trust(&mut self, user_ids: &[String]) -> Result<Vec<UserTrust>> {
        self.read(|work| user_ids.iter().map(|user_id| trust_in_user(work, user_id)).collect())
    }

    /// The body of `POST /keys/signatures/upload` by which we sign the identity of another user,
    /// whose master key the caller has compared.
    ///
    /// # Errors
    /// [`Kind::Identity`] when the server returns another master key than the one that was
    /// compared, or when our own identity cannot sign.
    pub fn user_signature_upload(&mut self, user_id: &str, master_key: &str) -> Result<String> {
        self.read(|work| user_signature(work, user_id, master_key))
    }

    /// The body of `POST /keys/signatures/upload` by which another device of ours, whose
    /// fingerprint the caller has compared, is signed.
    ///
    /// # Errors
    /// [`Kind::Identity`] when the device is not known, has another fingerprint, or our own
    /// identity cannot sign.
    pub fn device_signature_upload(
        &mut self,
        device_id: &str,
        fingerprint: &str,
    ) -> Result<String> {
        self.read(|work| device_signature(work, device_id, fingerprint))
    }

    /// The trust in devices of users, in their order, and what it rests on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn trust_in(&mut self, devices: &[Device]) -> Result<Vec<DeviceTrust>> {
        self.read(|work| {
            let trust = |device: &Device| {
                let owner = owner(work, &device.user_id)?;
                let signed = trust::is_signed(device, &owner) && !device.key_changed;
                Ok(DeviceTrust {
                    trust: trust::of_device(device, &owner),
                    signed_by_owner: signed,
                    cross_signing_verified: signed && owner.verified && !owner.changed,
                })
            };
            devices.iter().map(trust).collect()
        })
    }
}

pub(super) fn known_identity(work: &Work<'_>, user_id: &str) -> Result<Identity> {
    identity::identity(work, user_id)?.ok_or_else(|| {
        Error::new(Kind::Identity, format!("The server shows no identity of {user_id}."))
    })
}

/// See [`Machine::user_signature_upload`].
pub(super) fn user_signature(work: &Work<'_>, user_id: &str, master_key: &str) -> Result<String> {
    let shown = known_identity(work, user_id)?;
    if keys::ed25519(master_key)?.to_base64() != shown.master_key {
        return Err(Error::new(
            Kind::Identity,
            "The server shows another identity of this user than the one you compared.",
        ));
    }
    let user_signing = signing_key(work, Usage::UserSigning)?;
    let mut master = Json::parse_object(&shown.master)?;
    // Only our own signature is added; the others are the server's already.
    master.remove("signatures");
    user_signing.sign(&mut master, &work.own.user_id)?;
    signature_body(user_id, &shown.master_key, master)
}

/// See [`Machine::device_signature_upload`].
pub(super) fn device_signature(
    work: &Work<'_>,
    device_id: &str,
    fingerprint: &str,
) -> Result<String> {
    let user_id = &work.own.user_id;
    let device = devices::known_device(work, user_id, device_id)?;
    check_fingerprint(&device, fingerprint)?;
    let self_signing = signing_key(work, Usage::SelfSigning)?;
    let mut object = Json::parse_object(&device.device_keys)?;
    object.remove("unsigned");
    self_signing.sign(&mut object, user_id)?;
    signature_body(user_id, device_id, object)
}

/// The same for our own master key, which this device signs once another device of ours proved
/// it.
pub(super) fn own_master_signature(work: &mut Work<'_>, master_key: &str) -> Result<String> {
    let user_id = work.own.user_id.clone();
    let shown = known_identity(work, &user_id)?;
    if master_key != shown.master_key {
        return Err(Error::new(Kind::Identity, "The server shows another identity of yours."));
    }
    let mut master = Json::parse_object(&shown.master)?;
    master.remove("signatures");
    identity::sign_with_device(work, &mut master)?;
    signature_body(&user_id, master_key, master)
}

/// A private key of ours that is of the identity the server returns.
fn signing_key(work: &Work<'_>, usage: Usage) -> Result<SigningKey> {
    let mut own = identity::own_identity(work)?;
    let ours = identity::identity(work, &work.own.user_id)?;
    let holds = identity::holds(&own.private, ours.as_ref(), usage);
    own.private.take(usage).filter(|_| holds).ok_or_else(cannot_sign)
}

pub(super) fn put_identity(work: &Work<'_>, identity: &Identity) -> Result<()> {
    work.tx.put(identity)?;
    // Ours decides what the others are worth.
    work.owners.borrow_mut().clear();
    effects::push(work, Effect::RecipientsChanged { user_id: identity.user_id.clone() });
    Ok(())
}

pub(super) fn trust_in_user(work: &Work<'_>, user_id: &str) -> Result<UserTrust> {
    trust_by(work, user_id, identity::identity(work, user_id)?)
}

/// The same where the identity of the user was read already.
pub(super) fn trust_by(
    work: &Work<'_>,
    user_id: &str,
    identity: Option<Identity>,
) -> Result<UserTrust> {
    let owner = owner(work, user_id)?;
    Ok(UserTrust {
        verified: owner.verified && !owner.changed,
        was_verified: identity.as_ref().is_some_and(|known| known.was_verified),
        changed: owner.changed,
        master_key: identity.map(|known| known.master_key),
    })
}

/// Records the identity that a server returns for a user. The first one is pinned; another one is
/// remembered beside it, and counts for nothing until it is accepted.
pub(super) fn take_identity(work: &Work<'_>, shown: keys_query::Identity) -> Result<()> {
    if shown.user_id == work.own.user_id {
        let mut own = identity::own_identity(work)?;
        let refused = shown.keys.as_ref().err().map(|error| error.message.clone());
        if own.refused != refused {
            own.refused = refused;
            work.tx.put_single(&own)?;
        }
    }
    let Ok(found) = shown.keys else { return Ok(()) };
    let known = identity::identity(work, &shown.user_id)?;
    let master_key = found.master.to_base64();
    let first = || known.as_ref().map_or_else(|| master_key.clone(), |k| k.pinned.clone());
    let pinned = match identity::own_identity(work)?.private.master {
        // Our own identity is the one whose private part is here, whatever a server returns.
        Some(master) if shown.user_id == work.own.user_id => master.public(),
        _ => first(),
    };
    let identity = Identity {
        pinned,
        first_seen_at: known.as_ref().map_or(work.now, |known| known.first_seen_at),
        was_verified: known.as_ref().is_some_and(|known| known.was_verified),
        user_id: shown.user_id,
        master_key,
        master: shown.master,
        self_signing_key: found.self_signing.map(|key| key.to_base64()),
        user_signing_key: found.user_signing.map(|key| key.to_base64()),
        name_taken: shown.name_taken,
    };
    let identity = accepted(work, identity)?;
    if known.as_ref() == Some(&identity) {
        return Ok(());
    }
    put_identity(work, &identity)
}

/// An identity; accepted, if it is verified: our user accepted a master key by signing it.
fn accepted(work: &Work<'_>, identity: Identity) -> Result<Identity> {
    Ok(if is_verified(work, &identity)? {
        Identity { was_verified: true, pinned: identity.master_key.clone(), ..identity }
    } else {
        identity
    })
}

/// Keeps our own identity. Those that it vouches for count as verified from now on, and not from
/// when a server returns them again: it could show others then.
pub(super) fn put_own_identity(work: &Work<'_>, own: &OwnIdentity) -> Result<()> {
    work.tx.put_single(own)?;
    for known in work.tx.select::<Identity>(&Query::all())? {
        let identity = accepted(work, known.clone())?;
        if identity != known {
            put_identity(work, &identity)?;
        }
    }
    work.owners.borrow_mut().clear();
    Ok(())
}

/// Those of `users` who were verified and have another identity now.
pub(super) fn violations(work: &Work<'_>, users: &BTreeSet<String>) -> Result<Vec<String>> {
    let others = users.iter().filter(|user_id| **user_id != work.own.user_id);
    let known: Vec<Identity> = work.tx.select_among("user_id", others.map(String::as_str))?;
    let is_violated = |known: &Identity| known.was_verified && known.changed();
    Ok(known.into_iter().filter(is_violated).map(|known| known.user_id).collect())
}

/// Judges the identities of all of `users`, so that [`owner`] asks for none of them alone. Returns them.
pub(super) fn judge_owners(
    work: &Work<'_>,
    users: &BTreeSet<String>,
) -> Result<BTreeMap<String, Identity>> {
    let known: Vec<Identity> = work.tx.select_among("user_id", users.iter().map(String::as_str))?;
    let known: BTreeMap<String, Identity> =
        known.into_iter().map(|identity| (identity.user_id.clone(), identity)).collect();
    for user_id in users {
        if !work.owners.borrow().contains_key(user_id) {
            let owner = Rc::new(owner_by(work, known.get(user_id))?);
            work.owners.borrow_mut().insert(user_id.clone(), owner);
        }
    }
    Ok(known)
}

/// What the identity of a user is worth.
pub(super) fn owner(work: &Work<'_>, user_id: &str) -> Result<Rc<Owner>> {
    if let Some(known) = work.owners.borrow().get(user_id) {
        return Ok(Rc::clone(known));
    }
    let owner = Rc::new(owner_by(work, identity::identity(work, user_id)?.as_ref())?);
    work.owners.borrow_mut().insert(user_id.to_owned(), Rc::clone(&owner));
    Ok(owner)
}

fn owner_by(work: &Work<'_>, identity: Option<&Identity>) -> Result<Owner> {
    let Some(identity) = identity else { return Ok(Owner::default()) };
    Ok(Owner {
        changed: identity.changed(),
        verified: is_verified(work, identity)?,
        self_signing_key: identity.self_signing_key.clone(),
    })
}

/// An identity is verified when it is ours, or when our user-signing key signed its master key.
pub(super) fn is_verified(work: &Work<'_>, identity: &Identity) -> Result<bool> {
    let own = identity::own_identity(work)?;
    if identity.user_id == work.own.user_id {
        return Ok(is_ours(&own, identity));
    }
    let Some(ours) = identity::identity(work, &work.own.user_id)? else { return Ok(false) };
    let holds = |usage| identity::holds(&own.private, Some(&ours), usage);
    let Some(user_signing) = &ours.user_signing_key else { return Ok(false) };
    let vouches = holds(Usage::Master) || holds(Usage::UserSigning) || is_proven(&own, &ours);
    if !vouches || !is_ours(&own, &ours) {
        return Ok(false);
    }
    let master = Json::parse_object(&identity.master)?;
    Ok(is_signed_by(&master, &work.own.user_id, keys::ed25519(user_signing)?))
}

/// Whether the identity shown of our own user is the one whose private parts are here. A server
/// can put a master key and a user-signing key of its own beside our self-signing key: that key
/// alone proves nothing where the master key is known, or another was.
fn is_ours(own: &OwnIdentity, shown: &Identity) -> bool {
    let holds = |usage| identity::holds(&own.private, Some(shown), usage);
    let is_known = !shown.changed() && (holds(Usage::SelfSigning) || is_proven(own, shown));
    holds(Usage::Master) || own.private.master.is_none() && is_known
}

/// Whether another device of ours proved that an identity is ours.
fn is_proven(own: &OwnIdentity, shown: &Identity) -> bool {
    own.proven_master.as_ref() == Some(&shown.master_key)
}

/// The body of `POST /keys/signatures/upload` for one object.
fn signature_body(user_id: &str, name: &str, object: Object) -> Result<String> {
    let signed = Object::from([(name.to_owned(), Json::Object(object))]);
    let body = Object::from([(user_id.to_owned(), Json::Object(signed))]);
    Json::Object(body).canonical(Numbers::Canonical)
}

pub(super) fn check_fingerprint(device: &Device, fingerprint: &str) -> Result<()> {
    if keys::ed25519(fingerprint)?.to_base64() == device.signing_key && !device.key_changed {
        return Ok(());
    }
    Err(Error::new(
        Kind::Identity,
        "This device has another fingerprint than the one you compared.",
    ))
}

fn cannot_sign() -> Error {
    Error::new(Kind::Identity, "This device cannot sign for you. Run mx_crypto_setup() first.")
}
