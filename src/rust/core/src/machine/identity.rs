//! Cross-signing: our own identity, step by step, and what the identities of users are worth.
//!
//! An identity is made, saved, and then published: private parts to secret storage, public parts,
//! signatures. After a crash at any step the same keys go on.

use std::{collections::BTreeSet, rc::Rc};

use zeroize::Zeroizing;

use super::{Machine, Work};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        cross_signing::is_signed_by,
        keys_query,
        trust::{self, Owner, Trust},
    },
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::{SigningKey, Usage},
        keys::{self, encode_base64},
        recovery_key,
        seal::random_bytes,
        secret_storage::StorageKey,
        signing,
    },
    store::records::{Device, Identity, NewIdentity, OwnIdentity, PrivateKeys},
};

/// What opens a key of secret storage.
#[derive(Clone, Copy)]
pub enum StorageSecret<'a> {
    /// The key, as it was written down.
    RecoveryKey(&'a str),
    /// What the key is derived from.
    Passphrase(&'a str),
}

/// Where the private parts of a new identity go.
pub enum Storage<'a> {
    /// A key that is made: from a passphrase, or at random.
    New {
        /// The passphrase.
        passphrase: Option<&'a str>,
    },
    /// The key that secret storage has.
    Existing {
        /// Its id.
        key_id: &'a str,
        /// Its description, as text.
        description: &'a str,
        /// What opens it.
        secret: StorageSecret<'a>,
    },
}

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

/// What has become of an identity that was made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderWay {
    /// The server shows what it showed when the identity was made: it can be published.
    Resumable,
    /// The server shows it already.
    Published,
    /// The server shows another, which somebody else made meanwhile.
    Overtaken,
}

impl UnderWay {
    /// The name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            UnderWay::Resumable => "resumable",
            UnderWay::Published => "published",
            UnderWay::Overtaken => "overtaken",
        }
    }
}

/// How far our own identity is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityStatus {
    /// The master key the server shows.
    pub published: Option<String>,
    /// It is another than the one that was pinned.
    pub changed: bool,
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
            let under_way = own.new.as_ref().map(|new| {
                let shown = shown.as_ref().map(|shown| &shown.master_key);
                let made = new.private.master.as_ref().map(SigningKey::public);
                match shown {
                    Some(_) if shown == made.as_ref() => UnderWay::Published,
                    _ if shown == new.replaces.as_ref() => UnderWay::Resumable,
                    _ => UnderWay::Overtaken,
                }
            });
            let self_signing = shown.as_ref().and_then(|shown| shown.self_signing_key.as_ref());
            Ok(IdentityStatus {
                published: shown.as_ref().map(|shown| shown.master_key.clone()),
                changed: shown.as_ref().is_some_and(Identity::changed),
                held,
                device_signed: self_signing.is_some()
                    && device.and_then(|device| device.signed_by).as_ref() == self_signing,
                under_way,
                recovery_key: own.recovery_key.is_some(),
            })
        })
    }

    /// Makes an identity and saves it. One that is under way is gone on with instead. Without `reset`
    /// none is made where the server shows one, also one that does not hold.
    ///
    /// # Errors
    /// [`Kind::Identity`] when there is one; [`Kind::RecoveryKey`], [`Kind::SecretStorage`] when the storage does not open.
    pub fn make_identity(&mut self, storage: &Storage<'_>, reset: bool) -> Result<()> {
        let (key_id, key, description, random) = match *storage {
            Storage::New { passphrase } => {
                let (key, mut description) = match passphrase {
                    Some(passphrase) => StorageKey::new_from_passphrase(passphrase)?,
                    None => (StorageKey::random()?, Object::new()),
                };
                description.extend(key.describe()?);
                let text = Json::Object(description).text()?;
                let key_id = encode_base64(&random_bytes::<24>()?).replace(['+', '/'], "x");
                (key_id, key, Some(text), passphrase.is_none())
            }
            Storage::Existing { key_id, description, secret } => {
                (key_id.to_owned(), open(description, secret)?, None, false)
            }
        };
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            if own.new.is_some() {
                return Ok(());
            }
            if !reset && (own.refused.is_some() || work.identity(&work.own.user_id)?.is_some()) {
                return Err(Error::new(
                    Kind::Identity,
                    format!(
                        "The server shows an identity of this user already. {}",
                        own.refused.unwrap_or_default()
                    ),
                ));
            }
            let mut private = PrivateKeys::default();
            for usage in Usage::ALL {
                private.set(usage, SigningKey::random()?);
            }
            let storage_key = Zeroizing::new(*key.as_bytes());
            if random {
                // Kept until its owner has it: a kill after the upload must not lose it.
                own.recovery_key = Some(storage_key.clone());
            }
            let replaces = work.identity(&work.own.user_id)?.map(|shown| shown.master_key);
            own.new = Some(NewIdentity { private, replaces, key_id, storage_key, description });
            work.tx.put_single(&own)
        })
    }

    /// Gives up an identity under way.
    ///
    /// # Errors
    /// Those of the store.
    pub fn abandon_identity(&mut self) -> Result<()> {
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            own.new = None;
            own.recovery_key = None;
            work.tx.put_single(&own)
        })
    }

    /// The account data of the identity under way, as types and contents, in the order in which
    /// they are to be put: the default key last, when everything is there.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn identity_account_data(&mut self) -> Result<Vec<(String, String)>> {
        self.work(0, |work| {
            let new = work.new_identity()?;
            let key = StorageKey::from_bytes(new.storage_key.clone());
            let mut data = Vec::new();
            if let Some(description) = &new.description {
                let event_type = format!("m.secret_storage.key.{}", new.key_id);
                data.push((event_type, description.clone()));
            }
            for usage in Usage::ALL {
                let name = usage.secret_name();
                let private = new.private.get(usage).map(SigningKey::to_base64);
                let private = private.ok_or_else(incomplete)?;
                let sealed = key.encrypt(&name, private.as_bytes())?;
                let of_key = Object::from([(new.key_id.clone(), Json::Object(sealed))]);
                let content = Object::from([("encrypted".into(), Json::Object(of_key))]);
                data.push((name, Json::Object(content).text()?));
            }
            if new.description.is_some() {
                let content = Object::from([("key".into(), Json::String(new.key_id.clone()))]);
                let text = Json::Object(content).text()?;
                data.push(("m.secret_storage.default_key".into(), text));
            }
            Ok(data)
        })
    }

    /// The body of `POST /keys/device_signing/upload` for the identity under way, with what
    /// authenticates the user, as text, where the server asked for it.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn signing_keys_upload(&mut self, auth: Option<&str>) -> Result<String> {
        self.work(0, |work| {
            let new = work.new_identity()?;
            let user_id = work.own.user_id.clone();
            let master = new.private.master.as_ref().ok_or_else(incomplete)?;
            let mut body = Object::new();
            for usage in Usage::ALL {
                let key = new.private.get(usage).ok_or_else(incomplete)?;
                let mut object = key.published(&user_id, usage);
                if usage == Usage::Master {
                    work.sign_with_device(&mut object)?;
                } else {
                    master.sign(&mut object, &user_id)?;
                }
                body.insert(format!("{}_key", usage.as_str()), Json::Object(object));
            }
            if let Some(auth) = auth {
                body.insert("auth".into(), Json::parse(auth)?);
            }
            Json::Object(body).canonical(Numbers::Canonical)
        })
    }

    /// Takes in that the server has the public parts. The identity is ours from now on.
    ///
    /// # Errors
    /// [`Kind::Internal`] when no identity is under way.
    pub fn identity_published(&mut self) -> Result<()> {
        self.work(0, |work| {
            let mut own = work.own_identity()?;
            own.private = own.new.take().ok_or_else(incomplete)?.private;
            work.tx.put_single(&own)?;
            work.mark_outdated(&work.own.user_id)
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
        key_id: &str,
        description: &str,
        secret: StorageSecret<'_>,
        secrets: &[(Usage, String)],
    ) -> Result<()> {
        let key = open(description, secret)?;
        self.work(0, |work| {
            let shown = work.identity(&work.own.user_id)?.ok_or_else(|| {
                Error::new(Kind::Identity, "The server shows no identity of this user.")
            })?;
            let mut own = work.own_identity()?;
            let mut found = BTreeSet::new();
            for (usage, content) in secrets {
                let content = Json::parse_object(content)?;
                let sealed = content.get("encrypted").and_then(Json::as_object);
                let sealed = sealed.and_then(|keys| keys.get(key_id)).and_then(Json::as_object);
                let Some(sealed) = sealed else { continue };
                let text = key.decrypt(&usage.secret_name(), sealed)?;
                let text = std::str::from_utf8(&text)
                    .or_fail(Kind::SecretStorage, "A secret is not text")?;
                let private = SigningKey::from_base64(text)?;
                if Some(private.public()) != public(&shown, *usage) {
                    return Err(Error::new(
                        Kind::Identity,
                        format!(
                            "The {} key in secret storage is not the one the server shows. \
                             Another client made a new identity, or the server shows a false one.",
                            usage.as_str()
                        ),
                    ));
                }
                own.private.set(*usage, private);
                found.insert(*usage);
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
            work.tx.put_single(&own)
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

    /// What is known of the identities of users, in their order.
    ///
    /// # Errors
    /// Those of the store.
    pub fn user_trust(&mut self, user_ids: &[String]) -> Result<Vec<UserTrust>> {
        self.work(0, |work| {
            let trust = |user_id: &String| {
                let identity = work.identity(user_id)?;
                let owner = work.owner(user_id)?;
                Ok(UserTrust {
                    verified: owner.verified && !owner.changed,
                    was_verified: identity.as_ref().is_some_and(|known| known.was_verified),
                    changed: owner.changed,
                    master_key: identity.map(|known| known.master_key),
                })
            };
            user_ids.iter().map(trust).collect()
        })
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
            work.tx.put(&Identity { pinned, was_verified, ..shown })?;
            work.recipients_changed(user_id)
        })
    }

    /// The body of `POST /keys/signatures/upload` by which we sign the identity of another user,
    /// whose master key the caller has compared.
    ///
    /// # Errors
    /// [`Kind::Identity`] when the server shows another master key than the one that was compared,
    /// or when our own identity cannot sign.
    pub fn user_signature_upload(&mut self, user_id: &str, master_key: &str) -> Result<String> {
        self.work(0, |work| {
            let shown = work.known_identity(user_id)?;
            if keys::ed25519(master_key)?.to_base64() != shown.master_key {
                return Err(Error::new(
                    Kind::Identity,
                    "The server shows another identity of this user than the one you compared.",
                ));
            }
            let own = work.own_identity()?;
            let ours = work.identity(&work.own.user_id)?;
            let holds = work.holds(&own.private, ours.as_ref(), Usage::UserSigning);
            let Some(user_signing) = own.private.user_signing.filter(|_| holds) else {
                return Err(cannot_sign());
            };
            let mut master = Json::parse_object(&shown.master)?;
            // Only our own signature is added; the others are the server's already.
            master.remove("signatures");
            user_signing.sign(&mut master, &work.own.user_id)?;
            let signed = Object::from([(shown.master_key, Json::Object(master))]);
            let body = Object::from([(user_id.to_owned(), Json::Object(signed))]);
            Json::Object(body).canonical(Numbers::Canonical)
        })
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
        self.work(0, |work| {
            let user_id = work.own.user_id.clone();
            let device: Option<Device> =
                work.tx.get(&[user_id.as_str().into(), device_id.into()])?;
            let device = device.filter(|device| !device.deleted).ok_or_else(|| {
                Error::new(Kind::Identity, format!("You have no device {device_id}."))
            })?;
            if keys::ed25519(fingerprint)?.to_base64() != device.signing_key || device.key_changed {
                return Err(Error::new(
                    Kind::Identity,
                    "This device has another fingerprint than the one you compared.",
                ));
            }
            let own = work.own_identity()?;
            let ours = work.identity(&user_id)?;
            let holds = work.holds(&own.private, ours.as_ref(), Usage::SelfSigning);
            let Some(self_signing) = own.private.self_signing.filter(|_| holds) else {
                return Err(cannot_sign());
            };
            let mut object = Json::parse_object(&device.device_keys)?;
            object.remove("unsigned");
            self_signing.sign(&mut object, &user_id)?;
            let signed = Object::from([(device_id.to_owned(), Json::Object(object))]);
            let body = Object::from([(user_id, Json::Object(signed))]);
            Json::Object(body).canonical(Numbers::Canonical)
        })
    }

    /// The trust in devices of users, in their order.
    ///
    /// # Errors
    /// Those of the store.
    pub fn trust_in(&mut self, devices: &[Device]) -> Result<Vec<Trust>> {
        self.work(0, |work| {
            let trust =
                |device: &Device| Ok(trust::of_device(device, &*work.owner(&device.user_id)?));
            devices.iter().map(trust).collect()
        })
    }
}

impl Work<'_> {
    fn own_identity(&self) -> Result<OwnIdentity> {
        Ok(self.tx.get_single()?.unwrap_or_default())
    }

    fn new_identity(&self) -> Result<NewIdentity> {
        self.own_identity()?.new.ok_or_else(incomplete)
    }

    fn known_identity(&self, user_id: &str) -> Result<Identity> {
        self.identity(user_id)?.ok_or_else(|| {
            Error::new(Kind::Identity, format!("The server shows no identity of {user_id}."))
        })
    }

    fn identity(&self, user_id: &str) -> Result<Option<Identity>> {
        self.tx.get(&[user_id.into()])
    }

    pub(super) fn own_device(&self) -> Result<Option<Device>> {
        self.tx.get(&[self.own.user_id.as_str().into(), self.own.device_id.as_str().into()])
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
        };
        let identity = if self.is_verified(&identity)? {
            // Whoever signed a master key has accepted it.
            Identity { was_verified: true, pinned: identity.master_key.clone(), ..identity }
        } else {
            identity
        };
        if known.as_ref() == Some(&identity) {
            return Ok(());
        }
        self.tx.put(&identity)?;
        self.recipients_changed(&identity.user_id)
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

    /// Whether the private key for `usage` is held, and is that of the identity shown.
    fn holds(&self, private: &PrivateKeys, shown: Option<&Identity>, usage: Usage) -> bool {
        let published = shown.and_then(|shown| public(shown, usage));
        published.is_some() && private.get(usage).map(SigningKey::public) == published
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

    /// An identity is verified when it is ours, that is when its private part is held here, or when
    /// our user-signing key, of an identity that is ours, signed its master key.
    fn is_verified(&self, identity: &Identity) -> Result<bool> {
        let own = self.own_identity()?;
        if identity.user_id == self.own.user_id {
            return Ok(self.holds(&own.private, Some(identity), Usage::SelfSigning));
        }
        let ours = self.identity(&self.own.user_id)?;
        if !self.holds(&own.private, ours.as_ref(), Usage::SelfSigning) {
            return Ok(false);
        }
        let Some(user_signing) = ours.and_then(|ours| ours.user_signing_key) else {
            return Ok(false);
        };
        let master = Json::parse_object(&identity.master)?;
        Ok(is_signed_by(&master, &self.own.user_id, keys::ed25519(&user_signing)?))
    }

    fn sign_with_device(&mut self, object: &mut Object) -> Result<()> {
        let (user_id, key_id) =
            (self.own.user_id.clone(), format!("ed25519:{}", self.own.device_id));
        let account = self.account()?;
        signing::sign(object, &user_id, &key_id, |bytes| account.sign(bytes))
    }
}

fn public(identity: &Identity, usage: Usage) -> Option<String> {
    match usage {
        Usage::Master => Some(identity.master_key.clone()),
        Usage::SelfSigning => identity.self_signing_key.clone(),
        Usage::UserSigning => identity.user_signing_key.clone(),
    }
}

fn open(description: &str, secret: StorageSecret<'_>) -> Result<StorageKey> {
    let description = Json::parse_object(description)?;
    let key = match secret {
        StorageSecret::RecoveryKey(text) => StorageKey::from_bytes(recovery_key::decode(text)?),
        StorageSecret::Passphrase(text) => StorageKey::from_passphrase(text, &description)?,
    };
    key.check(&description)?;
    Ok(key)
}

fn cannot_sign() -> Error {
    Error::new(Kind::Identity, "This device cannot sign for you. Run mx_crypto_setup() first.")
}

fn incomplete() -> Error {
    Error::new(Kind::Internal, "No identity is being made.")
}
