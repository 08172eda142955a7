//! What follows from a verification: the other side's keys are relied on, and signed for all our
//! devices.

use super::{Step, Stop, messages};
use crate::{
    error::{Error, Kind, Result},
    judgement::{cross_signing::check_signatures_taken, verification::Cancel},
    machine::{
        Work,
        effects::{self, Effect},
        identity,
        pump::Pump,
        request_table::Body,
        tracking, trust_changes, user_trust, verification,
    },
    primitives::{canonical_json::Object, cross_signing::Usage},
    store::{
        Query,
        records::{Ask, Device, Identity, LocalTrust, Owed, Phase, Proven, Verification},
    },
};

/// Whether what follows from verifying a user could be kept.
pub(super) fn check_can_verify(work: &Work<'_>, user_id: &str) -> Result<()> {
    if user_id == work.own.user_id || can_sign(work, Usage::UserSigning)? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Identity,
        "This device cannot sign for you, and so cannot verify others. Run mx_crypto_setup() first.",
    ))
}

/// Whether this device holds a private key of our identity, which is the one the server returns.
fn can_sign(work: &Work<'_>, usage: Usage) -> Result<bool> {
    let own = identity::own_identity(work)?;
    let shown = identity::identity(work, &work.own.user_id)?;
    let is_ours = user_trust::trust_in_user(work, &work.own.user_id)?.verified;
    Ok(is_ours && identity::holds(&own.private, shown.as_ref(), usage))
}

/// Our user was convinced, and the other side proved that it holds these of its keys.
pub(super) fn conclude(work: &mut Work<'_>, flow: &mut Verification, proven: Proven) -> Step {
    // What was verified must still be what the server returns.
    if flow.keys != Some(verification::keys_of(work, flow)?) {
        return Err(Cancel::KeyMismatch.into());
    }
    messages::send_message(work, flow, "done", Object::new())?;
    flow.phase = Phase::Done(proven);
    let is_own = flow.user_id == work.own.user_id;
    if !is_own && proven.master {
        flow.owed = Some(Owed::User);
    } else if is_own && proven.device && can_sign(work, Usage::SelfSigning)? {
        flow.owed = Some(Owed::Device);
    } else if is_own && proven.master {
        rely_on_own_identity(work, flow)?;
        flow.owed = Some(Owed::OwnMaster);
    } else if proven.device {
        rely_on_device(work, flow)?;
    }
    Ok(())
}

/// Another device of ours proved that the identity the server returns is ours.
fn rely_on_own_identity(work: &mut Work<'_>, flow: &Verification) -> Result<()> {
    let Some(shown) = identity::identity(work, &flow.user_id)? else { return Ok(()) };
    let mut own = identity::own_identity(work)?;
    own.proven_master = Some(shown.master_key.clone());
    let users = work.tx.select::<Identity>(&Query::all())?;
    let users: Vec<&str> = users.iter().map(|known| known.user_id.as_str()).collect();
    trust_changes::telling(work, &users, |work| {
        user_trust::put_identity(work, &Identity { pinned: shown.master_key.clone(), ..shown })?;
        user_trust::put_own_identity(work, &own)
    })
}

/// The key of a device was compared, and nothing of ours could sign it.
fn rely_on_device(work: &mut Work<'_>, flow: &Verification) -> Result<()> {
    let device_id = flow.device_id.as_deref().unwrap_or_default();
    let user_id = flow.user_id.as_str();
    let device: Option<Device> = work.tx.get(&[user_id.into(), device_id.into()])?;
    let Some(device) = device else { return Ok(()) };
    trust_changes::telling(work, &[user_id], |work| {
        work.tx.put(&Device { local: LocalTrust::Verified, ..device })?;
        effects::push(work, Effect::RecipientsChanged { user_id: user_id.to_owned() });
        Ok(())
    })
}

/// The body of `POST /keys/signatures/upload` for what a verification owes.
fn owed_signature(work: &mut Work<'_>, flow: &Verification, owed: Owed) -> Result<String> {
    let (Some(keys), Some(device_id)) = (&flow.keys, &flow.device_id) else {
        return Err(Error::new(Kind::Identity, "Nothing was verified."));
    };
    let master = keys.master.as_deref().unwrap_or_default();
    match owed {
        Owed::User => user_trust::user_signature(work, &flow.user_id, master),
        Owed::Device => user_trust::device_signature(work, device_id, &keys.device),
        Owed::OwnMaster => user_trust::own_master_signature(work, master),
    }
}

/// The server was given the signature that a verification owed.
pub(in crate::machine) fn signature_uploaded(
    work: &mut Work<'_>,
    number: i64,
    body: &str,
) -> Result<()> {
    let user_id = owes_nothing(work, number)?;
    if let Some(user_id) = user_id {
        // What it shows from now on is what the trust rests on, also on our other devices.
        tracking::mark_outdated(work, &user_id)?;
    }
    check_signatures_taken(body)
}

/// Notes that a verification owes nothing any more, and says who was verified.
pub(in crate::machine) fn owes_nothing(work: &mut Work<'_>, number: i64) -> Result<Option<String>> {
    let flow: Option<Verification> = work.tx.get(&[number.into()])?;
    let Some(flow) = flow else { return Ok(None) };
    let user_id = flow.user_id.clone();
    work.tx.put(&Verification { owed: None, ..flow })?;
    Ok(Some(user_id))
}

/// Uploads the signatures that verifications owe.
pub(super) fn upload_signatures(pump: &mut Pump<'_, '_>) -> Result<()> {
    for mut flow in pump.work.tx.select::<Verification>(&Query::all())? {
        let Some(owed) = flow.owed else { continue };
        let ask = Ask::Signature { number: flow.number };
        if pump.is_busy(&ask) {
            continue;
        }
        match owed_signature(pump.work, &flow, owed) {
            Ok(body) => pump.ask(ask, Body::Json(body))?,
            // The server returns other keys by now, or ours are gone: nothing was verified. Or it
            // returns a key that cannot be signed. Neither may stop other requests.
            Err(error) if matches!(error.kind, Kind::Identity | Kind::Json) => {
                flow.owed = None;
                verification::settle(pump.work, &mut flow, Err(Stop::Cancel(Cancel::KeyMismatch)))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
