//! The steps of QR codes.
//!
//! Specification: client-server API, end-to-end encryption, "QR codes". A code holds a key of the side that
//! shows it, and what this side takes for a key of the side that scans it, which compares both with what it
//! knows. The secret in it proves that it was scanned; our user confirms that the right person scanned it.

use zeroize::Zeroizing;

use super::{
    Step,
    messages::{self, text},
    methods, not_now,
};
use crate::{
    error::Result,
    judgement::verification::{Cancel, RECIPROCATE, SCAN, SHOW},
    machine::{Work, verification},
    primitives::{
        canonical_json::{Json, Object},
        keys::{self, encode_base64},
        qr::{Mode, QrCode},
        sas::same,
    },
    store::records::{FixedKeys, Phase, Proven, Verification},
};

/// The code that the other side may scan. It is made once: another process may show it again.
pub(super) fn code_to_show(work: &Work<'_>, flow: &mut Verification) -> Step<Zeroizing<Vec<u8>>> {
    let (flow_id, theirs) = ready_for_codes(work, flow, SHOW)?;
    if let Some(code) = &flow.code {
        return Ok(code.clone());
    }
    let ours = verification::our_keys(work)?;
    let mode = match ours.master {
        _ if flow.user_id != work.own.user_id => Mode::User,
        Some(_) => Mode::TrustedDevice,
        None => Mode::UntrustedDevice,
    };
    let (first, second) = keys_in_code(mode, &ours, theirs)?
        .ok_or_else(|| not_now("This device does not know which identity is its own."))?;
    let code = QrCode::new(mode, flow_id.to_owned(), first, second)?.encode()?;
    flow.code = Some(code.clone());
    Ok(code)
}

/// The other side says that it scanned our code. Its person has to tell ours, too.
pub(super) fn our_code_scanned(flow: &mut Verification, secret: &str) -> Step {
    let code = flow.code.as_ref().ok_or(Cancel::UnexpectedMessage)?;
    let code = QrCode::decode(code)?;
    if !same(&Zeroizing::new(encode_base64(&code.secret)), secret) {
        return Err(Cancel::KeyMismatch.into());
    }
    flow.phase = Phase::Scanned(proven(code.mode == Mode::TrustedDevice));
    Ok(())
}

/// Our user scanned the code of the other side.
pub(super) fn their_code_scanned(
    work: &mut Work<'_>,
    flow: &mut Verification,
    bytes: &[u8],
) -> Step {
    let (flow_id, theirs) = ready_for_codes(work, flow, SCAN)?;
    let code = QrCode::decode(bytes)?;
    if code.flow_id != flow_id {
        return Err(Cancel::UnknownTransaction.into());
    }
    if (code.mode == Mode::User) != (flow.user_id != work.own.user_id) {
        return Err(Cancel::UserMismatch.into());
    }
    let expected = keys_in_code(code.mode, theirs, &verification::our_keys(work)?)?;
    if expected != Some((code.first_key, code.second_key)) {
        return Err(Cancel::KeyMismatch.into());
    }
    let content = Object::from([
        ("from_device".into(), text(&work.own.device_id)),
        ("method".into(), text(RECIPROCATE)),
        ("secret".into(), Json::String(encode_base64(&code.secret))),
    ]);
    messages::send_message(work, flow, "start", content)?;
    flow.phase = Phase::Reciprocated(proven(code.mode == Mode::UntrustedDevice));
    Ok(())
}

/// The id of the verification and the other side's keys, where a code can be shown or scanned now.
fn ready_for_codes<'a>(
    work: &Work<'_>,
    flow: &'a Verification,
    method: &str,
) -> Result<(&'a str, &'a FixedKeys)> {
    let (Phase::Ready, Some(flow_id), Some(keys)) = (&flow.phase, &flow.flow_id, &flow.keys) else {
        return Err(not_now("No method can begin now."));
    };
    if !methods::methods(work, flow)?.contains(&method) {
        return Err(not_now("The other side has no use for QR codes in this way."));
    }
    Ok((flow_id, keys))
}

/// The two keys in a code that the side with the keys `shows` displays to the side with the keys
/// `scans`. The code has a side's master key only where that side knows it to be its own.
fn keys_in_code(
    mode: Mode,
    shows: &FixedKeys,
    scans: &FixedKeys,
) -> Result<Option<([u8; 32], [u8; 32])>> {
    let (first, second) = match mode {
        Mode::User => (shows.master.as_ref(), scans.master.as_ref()),
        Mode::TrustedDevice => (shows.master.as_ref(), Some(&scans.device)),
        Mode::UntrustedDevice => (Some(&shows.device), scans.master.as_ref()),
    };
    let (Some(first), Some(second)) = (first, second) else { return Ok(None) };
    let bytes = |key: &str| keys::ed25519(key).map(|key| *key.as_bytes());
    Ok(Some((bytes(first)?, bytes(second)?)))
}

/// A code proves one key to each side: that of a device, or the master key.
fn proven(of_device: bool) -> Proven {
    Proven { device: of_device, master: !of_device }
}
