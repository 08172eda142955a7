//! Private keys that our own devices give each other.
//!
//! Specification: client-server API, secrets, "Sharing". A device that was verified has its identity from
//! another device in this way. Only devices that are verified as our own are asked and answered, over Olm;
//! and what comes is taken only where it was asked for, and is the private part of what the server returns.

use serde_json::{json, value::to_raw_value};
use zeroize::Zeroizing;

use super::{
    HOUR, MINUTE, Millis, Work, backup_key,
    identity::{self, public},
    key_backup, key_requests, olm_sessions,
    pump::Pump,
    send_to_devices, tracking, trust_changes, user_trust,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{identifier, olm_payload::OlmPayload},
    primitives::{
        canonical_json::{Json, Object},
        cross_signing::{SigningKey, Usage},
        key_backup::SECRET,
        keys::encode_base64,
        seal::random_bytes,
    },
    store::{
        Query, Record,
        records::{Identity, Lane, ReceivedSecretRequest, SecretRequest},
    },
};

/// When a device that gave nothing is asked once more.
const ASK_AGAIN: Millis = 24 * HOUR;
/// The type of a request.
pub(super) const REQUEST: &str = "m.secret.request";
/// The type of a response.
pub(super) const SEND: &str = "m.secret.send";
/// A new device asks at once when its verification is done, which its verifier may hear a little
/// later. After this its request is forgotten.
const LIFETIME: Millis = 15 * MINUTE;
/// How many requests are kept: a server may invent them.
const MOST: usize = 50;

/// The names of the private keys that are missing here: those of an identity that has signed this
/// device, for before no other would give them, and that of the key backup.
fn missing_secrets(work: &Work<'_>) -> Result<Vec<String>> {
    let Some(shown) = identity::signing_identity(work)? else { return Ok(Vec::new()) };
    let own = identity::own_identity(work)?;
    let missing = |usage: &Usage| {
        public(&shown, *usage).is_some() && !identity::holds(&own.private, Some(&shown), *usage)
    };
    let mut names: Vec<String> =
        Usage::ALL.into_iter().filter(missing).map(Usage::secret_name).collect();
    let backup = key_backup::key_backup(work)?;
    if backup.version.is_some() && backup.open().is_none() {
        names.push(SECRET.to_owned());
    }
    Ok(names)
}

/// A secret that is held here, if it still is that of the identity shown.
fn held_secret(work: &Work<'_>, name: &str) -> Result<Option<Zeroizing<String>>> {
    if name == SECRET {
        return Ok(key_backup::key_backup(work)?.open().map(|(_, key)| key.to_base64()));
    }
    let own = identity::own_identity(work)?;
    let shown = identity::identity(work, &work.own.user_id)?;
    let usage = Usage::ALL.into_iter().find(|usage| usage.secret_name() == name);
    let usage = usage.filter(|usage| identity::holds(&own.private, shown.as_ref(), *usage));
    Ok(usage.and_then(|usage| own.private.get(usage).map(SigningKey::to_base64)))
}

fn take_secret(work: &mut Work<'_>, name: &str, secret: &str) -> Result<()> {
    if name == SECRET {
        return backup_key::take_backup_key(work, secret)
            .or_fail(Kind::Olm, "A secret is discarded");
    }
    let usage = Usage::ALL.into_iter().find(|usage| usage.secret_name() == name);
    let shown = identity::identity(work, &work.own.user_id)?;
    let (Some(usage), Some(shown)) = (usage, shown) else { return Ok(()) };
    let private = SigningKey::from_base64(secret)?;
    if public(&shown, usage) != Some(private.public()) {
        return Err(discarded("it is not of the key that the server shows"));
    }
    let mut own = identity::own_identity(work)?;
    own.private.set(usage, private);
    let known = work.tx.select::<Identity>(&Query::all())?;
    let users: Vec<&str> = known.iter().map(|known| known.user_id.as_str()).collect();
    trust_changes::telling(work, &users, |work| user_trust::put_own_identity(work, &own))
}

/// Processes a secret that came over Olm from the device that owns `sender_key`.
pub(super) fn receive_secret(
    work: &mut Work<'_>,
    payload: &OlmPayload,
    sender_key: &str,
) -> Result<()> {
    let text =
        |name: &str| payload.text(name).ok_or_else(|| discarded(&format!("it has no {name}")));
    let (request_id, secret) = (text("request_id")?, text("secret")?);
    let requests = work.tx.select::<SecretRequest>(&Query::all())?;
    let request = requests.into_iter().find(|request| request.request_id == request_id);
    let mut request = request.ok_or_else(|| discarded("nobody asked for it"))?;
    let giver = key_requests::asked_sender(work, payload, sender_key, &request.asked)?;
    let giver = giver.ok_or_else(|| discarded("its giver is no device that was asked"))?;
    take_secret(work, &request.name, secret)?;
    // The device that gave it needs no cancellation.
    request.asked.retain(|device_id| *device_id != giver.device_id);
    work.tx.put(&request)
}

/// Records a request of another device of ours, or cancels it.
pub(super) fn receive_secret_request(
    work: &Work<'_>,
    sender: &str,
    content: &Object,
) -> Result<()> {
    let text = |name: &str| {
        let text = content.get(name).and_then(Json::as_str);
        text.filter(|text| identifier::is_sound(text)).map(str::to_owned)
    };
    let (Some(action), Some(device_id), Some(request_id)) =
        (text("action"), text("requesting_device_id"), text("request_id"))
    else {
        return Err(Error::new(Kind::Json, "A secret request is discarded: it is malformed."));
    };
    if sender != work.own.user_id || device_id == work.own.device_id {
        return Ok(());
    }
    if action == "request_cancellation" {
        let key = [device_id.as_str().into(), request_id.as_str().into()];
        return work.tx.delete::<ReceivedSecretRequest>(&key);
    }
    let name = text("name").filter(|_| action == "request");
    let full = work.tx.count::<ReceivedSecretRequest>(&Query::all())? >= MOST;
    let Some(name) = name.filter(|_| !full) else { return Ok(()) };
    let received_at = work.now;
    work.tx.put(&ReceivedSecretRequest { device_id, request_id, name, received_at })
}

fn tell_of_request(
    work: &Work<'_>,
    request: &SecretRequest,
    action: &str,
    device_ids: &[String],
) -> Result<()> {
    let content = json!({
        "action": action,
        "name": request.name,
        "requesting_device_id": work.own.device_id,
        "request_id": request.request_id,
    });
    key_requests::tell_own_devices(work, REQUEST, device_ids, &content)
}

/// Asks our verified devices for the private keys that are missing here, and takes back what was
/// asked for and has come.
pub(super) fn ask_for_secrets(pump: &mut Pump<'_, '_>) -> Result<()> {
    let work = &mut *pump.work;
    let missing = missing_secrets(work)?;
    for request in work.tx.select::<SecretRequest>(&Query::all())? {
        if !missing.contains(&request.name) {
            tell_of_request(work, &request, "request_cancellation", &request.asked)?;
            work.tx.delete::<SecretRequest>(&request.key())?;
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let devices = key_requests::own_verified_devices(work)?;
    for name in missing {
        let mut request = match work.tx.get::<SecretRequest>(&[name.as_str().into()])? {
            Some(known) => known,
            None => SecretRequest {
                name,
                request_id: encode_base64(&random_bytes::<12>()?),
                asked: Vec::new(),
                asked_at: 0,
            },
        };
        // A request or its response may have been lost, or the other device did not have it yet.
        if !(0..ASK_AGAIN).contains(&(work.now - request.asked_at)) {
            request.asked.clear();
        }
        let ids = devices.iter().map(|device| device.device_id.clone());
        let new: Vec<String> = ids.filter(|id| !request.asked.contains(id)).collect();
        if !new.is_empty() {
            tell_of_request(work, &request, "request", &new)?;
            request.asked.extend(new);
            request.asked_at = work.now;
            work.tx.put(&request)?;
        }
    }
    Ok(())
}

/// Gives our verified devices the private keys they ask for. Those that are not verified yet
/// may be soon; the others are told nothing.
pub(super) fn answer_secret_requests(pump: &mut Pump<'_, '_>) -> Result<()> {
    let requests = pump.work.tx.select::<ReceivedSecretRequest>(&Query::all())?;
    if requests.is_empty() {
        return Ok(());
    }
    let devices = key_requests::own_verified_devices(pump.work)?;
    let mut wanted = Vec::new();
    for request in requests {
        if request.received_at + LIFETIME < pump.work.now {
            pump.work.tx.delete::<ReceivedSecretRequest>(&request.key())?;
            continue;
        }
        let device = devices.iter().find(|device| device.device_id == request.device_id);
        let Some(device) = device else { continue };
        if !olm_sessions::has_olm_session(pump.work, device)? {
            if tracking::is_due(device.claim_retry_at, pump.work.now) {
                wanted.push((device.user_id.clone(), device.device_id.clone()));
            }
            continue;
        }
        if let Some(secret) = held_secret(pump.work, &request.name)? {
            let content = json!({"request_id": request.request_id, "secret": &*secret});
            let content = to_raw_value(&content).or_fail(Kind::Internal, "A secret")?;
            send_to_devices::send_to_device(pump.work, device, SEND, &content)?;
        }
        pump.work.tx.delete::<ReceivedSecretRequest>(&request.key())?;
    }
    olm_sessions::claim_one_time_keys(pump, &Lane::Side, wanted)
}

fn discarded(what: &str) -> Error {
    Error::new(Kind::Olm, format!("A secret is discarded: {what}."))
}
