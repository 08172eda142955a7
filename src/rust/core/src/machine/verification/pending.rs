//! Timeouts of verifications, and what the server reports about their requests and devices.

use super::{outcome, received};
use crate::{
    error::Result,
    judgement::{room_event::RELATES_TO, verification::Cancel},
    machine::{Work, pump::Pump, verification},
    primitives::canonical_json::Json,
    store::{
        Query,
        records::{OutboxBody, OutboxRow, Phase, Verification},
    },
};

/// Ends verifications whose time has run out.
pub(super) fn end_overdue(work: &mut Work<'_>) -> Result<()> {
    for mut flow in work.tx.select::<Verification>(&Query::all())? {
        if !is_overdue(work, &flow) {
            continue;
        }
        if matches!(flow.phase, Phase::Requested) && !flow.requested_here {
            // Our user was not there. Another device of ours may still answer.
            let code = Cancel::Timeout.code().into();
            flow.phase = Phase::Cancelled { code, here: true, message: None };
            verification::keep(work, &flow)?;
        } else {
            verification::settle(work, &mut flow, Err(Cancel::Timeout.into()))?;
        }
    }
    Ok(())
}

fn is_overdue(work: &Work<'_>, flow: &Verification) -> bool {
    !flow.has_ended() && flow.deadline < work.now
}

/// Goes on with verifications whose other device has become known.
fn go_on_with_verifications(work: &mut Work<'_>) -> Result<()> {
    for mut flow in work.tx.select::<Verification>(&Query::all())? {
        if !matches!(flow.phase, Phase::Ready) || flow.keys.is_some() {
            continue;
        }
        let done = match verification::fix_keys(work, &mut flow) {
            Ok(false) => continue,
            Ok(true) => received::take_waiting(work, &mut flow),
            Err(stop) => Err(stop),
        };
        verification::settle(work, &mut flow, done)?;
    }
    Ok(())
}

/// Our request in a room was sent: its event id is what the verification is known by.
pub(in crate::machine) fn verification_requested(
    work: &Work<'_>,
    row: &OutboxRow,
    event_id: &str,
) -> Result<()> {
    match open_verification_of(work, row)? {
        Some(flow) if flow.request == Some(row.number) => {
            work.tx.put(&Verification { flow_id: Some(event_id.to_owned()), ..flow })
        }
        _ => Ok(()),
    }
}

/// A message of ours in a room will never be sent, and the other side waits for it: without it
/// the verification does not go on.
pub(in crate::machine) fn verification_refused(work: &Work<'_>, row: &OutboxRow) -> Result<()> {
    let Some((code, message)) = row.refusal.clone() else { return Ok(()) };
    let Some(mut flow) = open_verification_of(work, row)? else { return Ok(()) };
    flow.phase = Phase::Cancelled { code, here: true, message: Some(message) };
    flow.code = None;
    work.tx.put(&flow)
}

/// The verification under way that a message in the outbox belongs to: its request, or one that
/// refers to that.
fn open_verification_of(work: &Work<'_>, row: &OutboxRow) -> Result<Option<Verification>> {
    let OutboxBody::Event { verifies: true, content, .. } = &row.body else { return Ok(None) };
    let content = Json::parse_object(content).unwrap_or_default();
    let relation = content.get(RELATES_TO).and_then(Json::as_object);
    let refers_to = relation.and_then(|to| to.get("event_id")).and_then(Json::as_str);
    let flows = work.tx.select::<Verification>(&Query::all())?;
    Ok(flows.into_iter().find(|flow| {
        let refers = refers_to.is_some() && flow.flow_id.as_deref() == refers_to;
        !flow.has_ended() && (flow.request == Some(row.number) || refers)
    }))
}

/// Does what is due for verifications.
pub(in crate::machine) fn pursue_verifications(pump: &mut Pump<'_, '_>) -> Result<()> {
    end_overdue(pump.work)?;
    go_on_with_verifications(pump.work)?;
    outcome::upload_signatures(pump)
}
