//! Private keys that our own devices give each other.
//!
//! Specification: client-server API, secrets, "Sharing". A device that was verified has its
//! identity from another device in this way. Only devices that are verified as our own are asked and
//! answered, over Olm; and what comes is taken only where it was asked for, and is the private part of
//! what the server shows.

use serde_json::{json, value::to_raw_value};
use zeroize::Zeroizing;

use super::{MINUTE, Millis, Work, identity::public, pump::Pump};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{identifier, olm_payload::OlmPayload},
    primitives::{
        canonical_json::{Json, Object},
        cross_signing::{SigningKey, Usage},
        key_backup,
        keys::encode_base64,
        seal::random_bytes,
    },
    store::{
        Query, Record,
        records::{Device, Identity, ReceivedSecretRequest, SecretRequest},
    },
};

/// The type of a request.
pub(super) const REQUEST: &str = "m.secret.request";
/// The type of an answer.
pub(super) const SEND: &str = "m.secret.send";
/// A new device asks at once when its verification is done, which its verifier may hear a little
/// later. After this its request is forgotten.
const LIFETIME: Millis = 15 * MINUTE;
/// How many requests are kept: a server may invent them.
const MOST: usize = 50;

impl Work<'_> {
    /// The identity of our user, if it has signed this device and nothing is wrong with it.
    pub(super) fn signing_identity(&self) -> Result<Option<Identity>> {
        let own = self.own_identity()?;
        let signed_by = self.own_device()?.and_then(|device| device.signed_by);
        Ok(self.identity(&self.own.user_id)?.filter(|shown| {
            let is_signed = signed_by.is_some() && signed_by == shown.self_signing_key;
            is_signed && !shown.changed() && own.refused.is_none() && own.new.is_none()
        }))
    }

    /// The names of the private keys that are missing here: those of an identity that has signed this
    /// device, for before no other would give them, and that of the key backup.
    fn missing_secrets(&self) -> Result<Vec<String>> {
        let Some(shown) = self.signing_identity()? else { return Ok(Vec::new()) };
        let own = self.own_identity()?;
        let missing = |usage: &Usage| {
            public(&shown, *usage).is_some() && !self.holds(&own.private, Some(&shown), *usage)
        };
        let mut names: Vec<String> =
            Usage::ALL.into_iter().filter(missing).map(Usage::secret_name).collect();
        let backup = self.key_backup()?;
        if backup.version.is_some() && backup.open().is_none() {
            names.push(key_backup::SECRET.to_owned());
        }
        Ok(names)
    }

    /// A secret that is held here, if it still is that of the identity shown.
    fn held_secret(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        if name == key_backup::SECRET {
            return Ok(self.key_backup()?.open().map(|(_, key)| key.to_base64()));
        }
        let own = self.own_identity()?;
        let shown = self.identity(&self.own.user_id)?;
        let usage = Usage::ALL.into_iter().find(|usage| usage.secret_name() == name);
        let usage = usage.filter(|usage| self.holds(&own.private, shown.as_ref(), *usage));
        Ok(usage.and_then(|usage| own.private.get(usage).map(SigningKey::to_base64)))
    }

    fn take_secret(&mut self, name: &str, secret: &str) -> Result<()> {
        if name == key_backup::SECRET {
            return self.take_backup_key(secret).or_fail(Kind::Olm, "A secret is discarded");
        }
        let usage = Usage::ALL.into_iter().find(|usage| usage.secret_name() == name);
        let shown = self.identity(&self.own.user_id)?;
        let (Some(usage), Some(shown)) = (usage, shown) else { return Ok(()) };
        let private = SigningKey::from_base64(secret)?;
        if public(&shown, usage) != Some(private.public()) {
            return Err(discarded("it is not of the key that the server shows"));
        }
        let mut own = self.own_identity()?;
        own.private.set(usage, private);
        let known = self.tx.select::<Identity>(&Query::all())?;
        let users: Vec<&str> = known.iter().map(|known| known.user_id.as_str()).collect();
        self.telling(&users, |work| work.put_own_identity(&own))
    }

    /// Takes in a secret that came over Olm from the device that owns `sender_key`.
    pub(super) fn receive_secret(&mut self, payload: &OlmPayload, sender_key: &str) -> Result<()> {
        let text = |name: &str| {
            payload
                .content
                .get(name)
                .and_then(Json::as_str)
                .ok_or_else(|| discarded(&format!("it has no {name}")))
        };
        let (request_id, secret) = (text("request_id")?, text("secret")?);
        let requests = self.tx.select::<SecretRequest>(&Query::all())?;
        let request = requests.into_iter().find(|request| request.request_id == request_id);
        let mut request = request.ok_or_else(|| discarded("nobody asked for it"))?;
        let devices = self.own_verified_devices()?;
        let asked = |device: &&Device| {
            device.identity_key == sender_key && request.asked.contains(&device.device_id)
        };
        let giver = devices.iter().find(asked).filter(|_| payload.sender == self.own.user_id);
        let giver = giver.ok_or_else(|| discarded("its giver is no device that was asked"))?;
        self.take_secret(&request.name, secret)?;
        // Whoever gave it needs no word that it is not wanted any more.
        request.asked.retain(|device_id| *device_id != giver.device_id);
        self.tx.put(&request)
    }

    /// Takes in a request of another device of ours, or takes it back.
    pub(super) fn receive_secret_request(&self, sender: &str, content: &Object) -> Result<()> {
        let text = |name: &str| {
            let text = content.get(name).and_then(Json::as_str);
            text.filter(|text| identifier::is_sound(text)).map(str::to_owned)
        };
        let (Some(action), Some(device_id), Some(request_id)) =
            (text("action"), text("requesting_device_id"), text("request_id"))
        else {
            return Err(Error::new(Kind::Json, "A secret request is discarded: it is malformed."));
        };
        if sender != self.own.user_id || device_id == self.own.device_id {
            return Ok(());
        }
        if action == "request_cancellation" {
            let key = [device_id.as_str().into(), request_id.as_str().into()];
            return self.tx.delete::<ReceivedSecretRequest>(&key);
        }
        let name = text("name").filter(|_| action == "request");
        let full = self.tx.count::<ReceivedSecretRequest>(&Query::all())? >= MOST;
        let Some(name) = name.filter(|_| !full) else { return Ok(()) };
        let received_at = self.now;
        self.tx.put(&ReceivedSecretRequest { device_id, request_id, name, received_at })
    }

    fn tell_of_request(
        &self,
        request: &SecretRequest,
        action: &str,
        device_ids: &[String],
    ) -> Result<()> {
        let content = json!({
            "action": action,
            "name": request.name,
            "requesting_device_id": self.own.device_id,
            "request_id": request.request_id,
        });
        self.tell_own_devices(REQUEST, device_ids, &content)
    }
}

impl Pump<'_, '_> {
    /// Asks our verified devices for the private keys that are missing here, and takes back what was
    /// asked for and has come.
    pub(super) fn ask_for_secrets(&mut self) -> Result<()> {
        let work = &mut *self.work;
        let missing = work.missing_secrets()?;
        for request in work.tx.select::<SecretRequest>(&Query::all())? {
            if !missing.contains(&request.name) {
                work.tell_of_request(&request, "request_cancellation", &request.asked)?;
                work.tx.delete::<SecretRequest>(&request.key())?;
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let devices = work.own_verified_devices()?;
        for name in missing {
            let mut request = match work.tx.get::<SecretRequest>(&[name.as_str().into()])? {
                Some(known) => known,
                None => SecretRequest {
                    name,
                    request_id: encode_base64(&random_bytes::<12>()?),
                    asked: Vec::new(),
                },
            };
            let ids = devices.iter().map(|device| device.device_id.clone());
            let new: Vec<String> = ids.filter(|id| !request.asked.contains(id)).collect();
            if !new.is_empty() {
                work.tell_of_request(&request, "request", &new)?;
                request.asked.extend(new);
                work.tx.put(&request)?;
            }
        }
        Ok(())
    }

    /// Gives our verified devices the private keys they ask for. Those that are not verified yet
    /// may be soon; the others are told nothing.
    pub(super) fn answer_secret_requests(&mut self) -> Result<()> {
        let requests = self.work.tx.select::<ReceivedSecretRequest>(&Query::all())?;
        if requests.is_empty() {
            return Ok(());
        }
        let devices = self.work.own_verified_devices()?;
        let mut wanted = Vec::new();
        for request in requests {
            if request.received_at + LIFETIME < self.work.now {
                self.work.tx.delete::<ReceivedSecretRequest>(&request.key())?;
                continue;
            }
            let device = devices.iter().find(|device| device.device_id == request.device_id);
            let Some(device) = device else { continue };
            if !self.work.has_olm_session(&device.identity_key)? {
                if device.claim_retry_at <= self.work.now {
                    wanted.push((device.user_id.clone(), device.device_id.clone()));
                }
                continue;
            }
            if let Some(secret) = self.work.held_secret(&request.name)? {
                let content = json!({"request_id": request.request_id, "secret": &*secret});
                let content = to_raw_value(&content).or_fail(Kind::Internal, "A secret")?;
                self.work.send_to_device(device, SEND, &content)?;
            }
            self.work.tx.delete::<ReceivedSecretRequest>(&request.key())?;
        }
        self.claim_one_time_keys(wanted)
    }
}

fn discarded(what: &str) -> Error {
    Error::new(Kind::Olm, format!("A secret is discarded: {what}."))
}
