//! The steps of SAS.
//!
//! Specification: client-server API, end-to-end encryption, "Short Authentication String (SAS)
//! verification". The side that accepts has to commit to a key before it sees the other: so nobody
//! between the two can choose keys that look the same to both.

use super::{
    Step,
    messages::{self, text},
    not_now, outcome,
};
use crate::{
    error::Result,
    judgement::verification::{
        Accept, Cancel, DECIMAL, EMOJI, HASH, KEY_AGREEMENT, Mac, Offer, SAS,
    },
    machine::{Work, verification},
    primitives::{
        canonical_json::{Json, Object},
        keys,
        sas::{self, EphemeralKey, MacMethod, SharedSecret, commitment, same},
    },
    store::records::{Phase, Proven, Sas, Verification},
};

/// Stands for the list of all ids, where a MAC is not of one key.
const KEY_IDS: &str = "KEY_IDS";

/// Begins SAS.
pub(super) fn begin_sas(work: &mut Work<'_>, flow: &mut Verification) -> Step {
    let list = |names: &[&str]| Json::Array(names.iter().copied().map(text).collect());
    let start = messages::addressed(
        flow,
        Object::from([
            ("from_device".into(), text(&work.own.device_id)),
            ("method".into(), text(SAS)),
            ("key_agreement_protocols".into(), list(&[KEY_AGREEMENT])),
            ("hashes".into(), list(&[HASH])),
            ("message_authentication_codes".into(), list(&MacMethod::ALL.map(MacMethod::as_str))),
            ("short_authentication_string".into(), list(&[DECIMAL, EMOJI])),
        ]),
    );
    messages::send_message(work, flow, "start", start.clone())?;
    flow.phase = Phase::Sas(Box::new(Sas {
        started_here: true,
        start: Json::Object(start).text()?,
        key: EphemeralKey::random(),
        mac: MacMethod::V2,
        emoji: true,
        commitment: None,
        their_key: None,
        confirmed: false,
        proven: None,
    }));
    Ok(())
}

/// The other side began: we choose among what it offers, and commit to our key.
pub(super) fn sas_offered(
    work: &mut Work<'_>,
    flow: &mut Verification,
    offer: &Offer,
    start: &Object,
) -> Step {
    let key = EphemeralKey::random();
    let strings = if offer.emoji { vec![text(DECIMAL), text(EMOJI)] } else { vec![text(DECIMAL)] };
    let commitment = commitment(&key.public(), start).map_err(|_| Cancel::InvalidMessage)?;
    let content = Object::from([
        ("method".into(), text(SAS)),
        ("key_agreement_protocol".into(), text(KEY_AGREEMENT)),
        ("hash".into(), text(HASH)),
        ("message_authentication_code".into(), text(offer.mac.as_str())),
        ("short_authentication_string".into(), Json::Array(strings)),
        ("commitment".into(), Json::String(commitment)),
    ]);
    messages::send_message(work, flow, "accept", content)?;
    flow.phase = Phase::Sas(Box::new(Sas {
        started_here: false,
        start: Json::Object(start.clone()).text()?,
        key,
        mac: offer.mac,
        emoji: offer.emoji,
        commitment: None,
        their_key: None,
        confirmed: false,
        proven: None,
    }));
    Ok(())
}

/// The other side chose, and committed to its key: ours is shown now.
pub(super) fn sas_accepted(work: &mut Work<'_>, flow: &mut Verification, accept: Accept) -> Step {
    let Phase::Sas(under_way) = &mut flow.phase else {
        return Err(Cancel::UnexpectedMessage.into());
    };
    if !under_way.started_here || under_way.commitment.is_some() {
        return Err(Cancel::UnexpectedMessage.into());
    }
    under_way.mac = accept.mac;
    under_way.emoji = accept.emoji;
    under_way.commitment = Some(accept.commitment);
    let key = under_way.key.public();
    show_key(work, flow, key)
}

/// The other side's key came: its owner committed to it, or sees ours now.
pub(super) fn sas_key(work: &mut Work<'_>, flow: &mut Verification, key: &str) -> Step {
    let Phase::Sas(under_way) = &mut flow.phase else {
        return Err(Cancel::UnexpectedMessage.into());
    };
    if under_way.their_key.is_some() || under_way.started_here && under_way.commitment.is_none() {
        return Err(Cancel::UnexpectedMessage.into());
    }
    let key = keys::curve25519(key).map_err(|_| Cancel::InvalidMessage)?.to_base64();
    if let Some(announced) = &under_way.commitment {
        let start = Json::parse_object(&under_way.start)?;
        if !same(announced, &commitment(&key, &start)?) {
            return Err(Cancel::MismatchedCommitment.into());
        }
    }
    under_way.key.agree(&key).map_err(|_| Cancel::KeyMismatch)?;
    under_way.their_key = Some(key);
    if under_way.started_here {
        return Ok(());
    }
    let key = under_way.key.public();
    show_key(work, flow, key)
}

fn show_key(work: &mut Work<'_>, flow: &Verification, key: String) -> Step {
    let content = Object::from([("key".into(), Json::String(key))]);
    Ok(messages::send_message(work, flow, "key", content)?)
}

/// Our user compared.
pub(super) fn compared(work: &mut Work<'_>, flow: &mut Verification, is_same: bool) -> Step {
    let nothing = || not_now("There is nothing to compare now.");
    let Phase::Sas(under_way) = &mut flow.phase else { return Err(nothing().into()) };
    if under_way.their_key.is_none() || under_way.confirmed {
        return Err(nothing().into());
    }
    if !is_same {
        return Err(Cancel::MismatchedSas.into());
    }
    under_way.confirmed = true;
    let (under_way, proven) = (under_way.clone(), under_way.proven);
    let content = macs_of_our_keys(work, flow, &under_way)?;
    messages::send_message(work, flow, "mac", content)?;
    match proven {
        Some(proven) => outcome::conclude(work, flow, proven),
        None => Ok(()),
    }
}

/// The other side authenticates its keys. They are those that were fixed in the beginning, whatever
/// the server returns under their names by now.
pub(super) fn sas_mac(work: &mut Work<'_>, flow: &mut Verification, mac: &Mac) -> Step {
    let Phase::Sas(under_way) = &flow.phase else {
        return Err(Cancel::UnexpectedMessage.into());
    };
    if under_way.their_key.is_none() || under_way.proven.is_some() {
        return Err(Cancel::UnexpectedMessage.into());
    }
    let proven = proven_by(work, flow, under_way, mac)?;
    let confirmed = under_way.confirmed;
    if let Phase::Sas(under_way) = &mut flow.phase {
        under_way.proven = Some(proven);
    }
    if confirmed { outcome::conclude(work, flow, proven) } else { Ok(()) }
}

fn proven_by(work: &Work<'_>, flow: &Verification, under_way: &Sas, mac: &Mac) -> Step<Proven> {
    let (Some(device_id), Some(fixed)) = (&flow.device_id, &flow.keys) else {
        return Err(Cancel::UnexpectedMessage.into());
    };
    let shared = agreed(under_way)?;
    let holds = |key_id: &str, input: &str, given: &str| -> Step {
        let info = mac_info(work, flow, false, key_id);
        let expected = shared.mac(under_way.mac, input, &info)?;
        if same(&expected, given) { Ok(()) } else { Err(Cancel::KeyMismatch.into()) }
    };
    // First that none was added or taken away: only then may unknown ones be left.
    let ids: Vec<&str> = mac.keys.keys().map(String::as_str).collect();
    holds(KEY_IDS, &ids.join(","), &mac.ids)?;
    let mut proven = Proven::default();
    for (key_id, given) in &mac.keys {
        if *key_id == format!("ed25519:{device_id}") {
            holds(key_id, &fixed.device, given)?;
            proven.device = true;
        } else if let Some(master) = &fixed.master
            && *key_id == format!("ed25519:{master}")
        {
            holds(key_id, master, given)?;
            proven.master = true;
        }
    }
    let is_own = flow.user_id == work.own.user_id;
    if proven.device || proven.master && !is_own {
        Ok(proven)
    } else {
        Err(Cancel::KeyMismatch.into())
    }
}

/// The MACs of this device's key, and of our master key where we know that it is ours.
fn macs_of_our_keys(work: &Work<'_>, flow: &Verification, under_way: &Sas) -> Step<Object> {
    let shared = agreed(under_way)?;
    let keys = verification::our_keys(work)?;
    let mut ours = vec![(format!("ed25519:{}", work.own.device_id), keys.device)];
    if let Some(master) = keys.master {
        ours.push((format!("ed25519:{master}"), master));
    }
    ours.sort();
    let mac = |key_id: &str, input: &str| {
        shared.mac(under_way.mac, input, &mac_info(work, flow, true, key_id)).map(Json::String)
    };
    let ids: Vec<&str> = ours.iter().map(|(id, _)| id.as_str()).collect();
    let ids = mac(KEY_IDS, &ids.join(","))?;
    let macs = ours.iter().map(|(id, key)| Ok((id.clone(), mac(id, key)?)));
    let macs = macs.collect::<Result<Object>>()?;
    Ok(Object::from([("mac".into(), Json::Object(macs)), ("keys".into(), ids)]))
}

/// What our user compares.
pub(super) fn strings(work: &Work<'_>, flow: &Verification, under_way: &Sas) -> Result<sas::Sas> {
    let (ours, theirs) = (under_way.key.public(), under_way.their_key.clone().unwrap_or_default());
    let device_id = flow.device_id.as_deref().unwrap_or_default();
    let us = [&work.own.user_id, &work.own.device_id, ours.as_str()].join("|");
    let them = [&flow.user_id, device_id, &theirs].join("|");
    let (first, second) = if under_way.started_here { (us, them) } else { (them, us) };
    let flow_id = flow.flow_id.as_deref().unwrap_or_default();
    let info = format!("MATRIX_KEY_VERIFICATION_SAS|{first}|{second}|{flow_id}");
    under_way.key.agree(&theirs)?.sas(&info)
}

fn mac_info(work: &Work<'_>, flow: &Verification, ours: bool, key_id: &str) -> String {
    let us = format!("{}{}", work.own.user_id, work.own.device_id);
    let device_id = flow.device_id.as_deref().unwrap_or_default();
    let them = format!("{}{device_id}", flow.user_id);
    let (from, to) = if ours { (us, them) } else { (them, us) };
    let flow_id = flow.flow_id.as_deref().unwrap_or_default();
    format!("MATRIX_KEY_VERIFICATION_MAC{from}{to}{flow_id}{key_id}")
}

fn agreed(under_way: &Sas) -> Step<SharedSecret> {
    let their_key = under_way.their_key.as_deref().ok_or(Cancel::UnexpectedMessage)?;
    Ok(under_way.key.agree(their_key)?)
}
