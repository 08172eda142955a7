//! What the identities of users are worth, and the trust in their devices.

use std::{collections::BTreeSet, rc::Rc};

use super::{Machine, Work};
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
        records::{Device, Identity, LocalTrust, OwnIdentity},
    },
};

/// What is known of the identity of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserTrust {
    /// The master key the server shows.
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
    /// The identity that the server shows of its owner signed it.
    pub signed_by_owner: bool,
    /// So did an identity that we verified, or that is ours.
    pub cross_signing_verified: bool,
}

impl Machine {
    /// What is known of the identities of users, in their order.
    ///
    /// # Errors
    /// Those of the store.
    pub fn user_trust(&mut self, user_ids: &[String]) -> Result<Vec<UserTrust>> {
        self.work(0, |work| user_ids.iter().map(|user_id| work.trust_in_user(user_id)).collect())
    }

    /// Accepts the identity that the server shows of a user now, verified or not. That the user had
    /// another one that was verified is forgotten.
    ///
    /// # Errors
    /// [`Kind::Identity`] when there is none.
    pub fn pin_identity(&mut self, user_id: &str) -> Result<()> {
        self.work(0, |work| {
            let shown = work.known_identity(user_id)?;
            let pinned = shown.master_key.clone();
            // What is verified without being asked stays so.
            let was_verified = work.is_verified(&shown)?;
            work.telling(&[user_id], |work| {
                work.put_identity(&Identity { pinned, was_verified, ..shown })
            })
        })
    }

    /// The body of `POST /keys/signatures/upload` by which we sign the identity of another user,
    /// whose master key the caller has compared.
    ///
    /// # Errors
    /// [`Kind::Identity`] when the server shows another master key than the one that was compared,
    /// or when our own identity cannot sign.
    pub fn user_signature_upload(&mut self, user_id: &str, master_key: &str) -> Result<String> {
        self.work(0, |work| work.user_signature(user_id, master_key))
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
        self.work(0, |work| work.device_signature(device_id, fingerprint))
    }

    /// Takes in what our user decided about a device, whose fingerprint the caller has compared if it
    /// is to be relied on.
    ///
    /// # Errors
    /// [`Kind::Identity`] when the device is not known, or has another fingerprint.
    pub fn set_local_trust(
        &mut self,
        user_id: &str,
        device_id: &str,
        fingerprint: Option<&str>,
        local: LocalTrust,
    ) -> Result<()> {
        self.work(0, |work| {
            let device = work.known_device(user_id, device_id)?;
            if let Some(fingerprint) = fingerprint {
                check_fingerprint(&device, fingerprint)?;
            }
            work.telling(&[user_id], |work| {
                work.tx.put(&Device { local, ..device })?;
                work.recipients_changed(user_id)
            })
        })
    }

    /// The trust in devices of users, in their order, and what it rests on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn trust_in(&mut self, devices: &[Device]) -> Result<Vec<DeviceTrust>> {
        self.work(0, |work| {
            let trust = |device: &Device| {
                let owner = work.owner(&device.user_id)?;
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

impl Work<'_> {
    fn known_identity(&self, user_id: &str) -> Result<Identity> {
        self.identity(user_id)?.ok_or_else(|| {
            Error::new(Kind::Identity, format!("The server shows no identity of {user_id}."))
        })
    }

    fn known_device(&self, user_id: &str, device_id: &str) -> Result<Device> {
        let device: Option<Device> = self.tx.get(&[user_id.into(), device_id.into()])?;
        device.filter(|device| !device.deleted).ok_or_else(|| {
            Error::new(Kind::Identity, format!("{user_id} has no device {device_id}."))
        })
    }

    /// See [`Machine::user_signature_upload`].
    pub(super) fn user_signature(&self, user_id: &str, master_key: &str) -> Result<String> {
        let shown = self.known_identity(user_id)?;
        if keys::ed25519(master_key)?.to_base64() != shown.master_key {
            return Err(Error::new(
                Kind::Identity,
                "The server shows another identity of this user than the one you compared.",
            ));
        }
        let user_signing = self.signing_key(Usage::UserSigning)?;
        let mut master = Json::parse_object(&shown.master)?;
        // Only our own signature is added; the others are the server's already.
        master.remove("signatures");
        user_signing.sign(&mut master, &self.own.user_id)?;
        signature_body(user_id, &shown.master_key, master)
    }

    /// See [`Machine::device_signature_upload`].
    pub(super) fn device_signature(&self, device_id: &str, fingerprint: &str) -> Result<String> {
        let user_id = &self.own.user_id;
        let device = self.known_device(user_id, device_id)?;
        check_fingerprint(&device, fingerprint)?;
        let self_signing = self.signing_key(Usage::SelfSigning)?;
        let mut object = Json::parse_object(&device.device_keys)?;
        object.remove("unsigned");
        self_signing.sign(&mut object, user_id)?;
        signature_body(user_id, device_id, object)
    }

    /// The same for our own master key, which this device signs once another device of ours proved
    /// it.
    pub(super) fn own_master_signature(&mut self, master_key: &str) -> Result<String> {
        let user_id = self.own.user_id.clone();
        let shown = self.known_identity(&user_id)?;
        if master_key != shown.master_key {
            return Err(Error::new(Kind::Identity, "The server shows another identity of yours."));
        }
        let mut master = Json::parse_object(&shown.master)?;
        master.remove("signatures");
        self.sign_with_device(&mut master)?;
        signature_body(&user_id, master_key, master)
    }

    /// A private key of ours that is of the identity the server shows.
    fn signing_key(&self, usage: Usage) -> Result<SigningKey> {
        let mut own = self.own_identity()?;
        let ours = self.identity(&self.own.user_id)?;
        let holds = self.holds(&own.private, ours.as_ref(), usage);
        own.private.take(usage).filter(|_| holds).ok_or_else(cannot_sign)
    }

    pub(super) fn put_identity(&self, identity: &Identity) -> Result<()> {
        self.tx.put(identity)?;
        // Ours decides what the others are worth.
        self.owners.borrow_mut().clear();
        self.recipients_changed(&identity.user_id)
    }

    pub(super) fn trust_in_user(&self, user_id: &str) -> Result<UserTrust> {
        let identity = self.identity(user_id)?;
        let owner = self.owner(user_id)?;
        Ok(UserTrust {
            verified: owner.verified && !owner.changed,
            was_verified: identity.as_ref().is_some_and(|known| known.was_verified),
            changed: owner.changed,
            master_key: identity.map(|known| known.master_key),
        })
    }

    /// Takes in the identity a server shows of a user. The first one is pinned; another one is
    /// remembered beside it, and counts for nothing until it is accepted.
    pub(super) fn take_identity(&self, shown: keys_query::Identity) -> Result<()> {
        if shown.user_id == self.own.user_id {
            let mut own = self.own_identity()?;
            let refused = shown.keys.as_ref().err().map(|error| error.message.clone());
            if own.refused != refused {
                own.refused = refused;
                self.tx.put_single(&own)?;
            }
        }
        let Ok(found) = shown.keys else { return Ok(()) };
        let known = self.identity(&shown.user_id)?;
        let master_key = found.master.to_base64();
        let first = || known.as_ref().map_or_else(|| master_key.clone(), |k| k.pinned.clone());
        let pinned = match self.own_identity()?.private.master {
            // Our own identity is the one whose private part is here, whatever a server shows.
            Some(master) if shown.user_id == self.own.user_id => master.public(),
            _ => first(),
        };
        let identity = Identity {
            pinned,
            first_seen_at: known.as_ref().map_or(self.now, |known| known.first_seen_at),
            was_verified: known.as_ref().is_some_and(|known| known.was_verified),
            user_id: shown.user_id,
            master_key,
            master: shown.master,
            self_signing_key: found.self_signing.map(|key| key.to_base64()),
            user_signing_key: found.user_signing.map(|key| key.to_base64()),
            name_taken: shown.name_taken,
        };
        let identity = self.accepted(identity)?;
        if known.as_ref() == Some(&identity) {
            return Ok(());
        }
        self.put_identity(&identity)
    }

    /// An identity; accepted, if it is verified: whoever signed a master key has accepted it.
    fn accepted(&self, identity: Identity) -> Result<Identity> {
        Ok(if self.is_verified(&identity)? {
            Identity { was_verified: true, pinned: identity.master_key.clone(), ..identity }
        } else {
            identity
        })
    }

    /// Keeps our own identity. Those that it vouches for count as verified from now on, and not from
    /// when a server shows them again: it could show others then.
    pub(super) fn put_own_identity(&self, own: &OwnIdentity) -> Result<()> {
        self.tx.put_single(own)?;
        for known in self.tx.select::<Identity>(&Query::all())? {
            let identity = self.accepted(known.clone())?;
            if identity != known {
                self.put_identity(&identity)?;
            }
        }
        self.owners.borrow_mut().clear();
        Ok(())
    }

    /// Those of `users` who were verified and have another identity now.
    pub(super) fn violations(&self, users: &BTreeSet<String>) -> Result<Vec<String>> {
        let mut violations = Vec::new();
        for user_id in users.iter().filter(|user_id| **user_id != self.own.user_id) {
            let identity = self.identity(user_id)?;
            if identity.is_some_and(|known| known.was_verified && known.changed()) {
                violations.push(user_id.clone());
            }
        }
        Ok(violations)
    }

    /// What the identity of a user is worth.
    pub(super) fn owner(&self, user_id: &str) -> Result<Rc<Owner>> {
        if let Some(known) = self.owners.borrow().get(user_id) {
            return Ok(Rc::clone(known));
        }
        let owner = Rc::new(match self.identity(user_id)? {
            Some(identity) => Owner {
                changed: identity.changed(),
                verified: self.is_verified(&identity)?,
                self_signing_key: identity.self_signing_key,
            },
            None => Owner::default(),
        });
        self.owners.borrow_mut().insert(user_id.to_owned(), Rc::clone(&owner));
        Ok(owner)
    }

    /// An identity is verified when it is ours, or when our user-signing key signed its master key.
    fn is_verified(&self, identity: &Identity) -> Result<bool> {
        let own = self.own_identity()?;
        if identity.user_id == self.own.user_id {
            return Ok(self.is_ours(&own, identity));
        }
        let Some(ours) = self.identity(&self.own.user_id)? else { return Ok(false) };
        let holds = |usage| self.holds(&own.private, Some(&ours), usage);
        let Some(user_signing) = &ours.user_signing_key else { return Ok(false) };
        let vouches = holds(Usage::Master) || holds(Usage::UserSigning) || is_proven(&own, &ours);
        if !vouches || !self.is_ours(&own, &ours) {
            return Ok(false);
        }
        let master = Json::parse_object(&identity.master)?;
        Ok(is_signed_by(&master, &self.own.user_id, keys::ed25519(user_signing)?))
    }

    /// Whether the identity shown of our own user is the one whose private parts are here. A server
    /// can put a master key and a user-signing key of its own beside our self-signing key: that key
    /// alone proves nothing where the master key is known, or another was.
    fn is_ours(&self, own: &OwnIdentity, shown: &Identity) -> bool {
        let holds = |usage| self.holds(&own.private, Some(shown), usage);
        let is_known = !shown.changed() && (holds(Usage::SelfSigning) || is_proven(own, shown));
        holds(Usage::Master) || own.private.master.is_none() && is_known
    }
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

fn check_fingerprint(device: &Device, fingerprint: &str) -> Result<()> {
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
