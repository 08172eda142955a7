//! Gaps in timelines.
//!
//! A sync that leaves events out commits the gap together with its token. The events behind the gap
//! are held back, and the missing ones fetched in order, so that a room is delivered in order and
//! no event is lost in silence. State is applied at once, also that of events which are held back.

use super::{
    Work, decryption_ahead::decrypt_ahead, inbox, pump::Pump, request_table::Body, timeline,
};
use crate::{
    error::Result,
    judgement::{identifier::is_segment, messages_page::MessagesPage, utd_reason::UtdReason},
    store::{
        Query, Record,
        records::{Ask, HeldPart, HeldTimeline},
    },
};

/// A gap of more events than this is given up, and a row says so.
const LARGEST_GAP: usize = 20_000;

/// Processes the timeline of a room, after `gap`, the tokens where it begins and ends, if there is
/// one.
pub(super) fn take_timeline(
    work: &mut Work<'_>,
    room_id: &str,
    gap: Option<(String, String)>,
    events: &[String],
) -> Result<()> {
    if let Some((from, to)) = gap {
        hold(work, room_id, HeldPart::Gap { from, to, fetched: 0 })?;
    }
    let held = work.tx.count::<HeldTimeline>(&Query::equal("room_id", room_id))? > 0;
    if !held {
        decrypt_ahead(work, room_id, events.iter().map(String::as_str))?;
    }
    for text in events {
        if held {
            hold(work, room_id, HeldPart::Event { raw: text.clone() })?;
        } else {
            timeline::take_event(work, room_id, text)?;
        }
    }
    Ok(())
}

fn hold(work: &Work<'_>, room_id: &str, part: HeldPart) -> Result<()> {
    let number = work.tx.take_number("held timeline")?;
    work.tx.put(&HeldTimeline { room_id: room_id.to_owned(), number, part })
}

/// The gaps that can be filled now: the first of each room. (What is held of a room always begins
/// with a gap.)
pub(super) fn open_gaps(work: &Work<'_>) -> Result<Vec<Ask>> {
    let mut asks: Vec<Ask> = Vec::new();
    let mut last_room = None;
    for part in work.tx.select::<HeldTimeline>(&Query::equal("is_gap", 1))? {
        if let HeldPart::Gap { from, to, .. } = part.part
            && last_room.as_ref() != Some(&part.room_id)
        {
            let (room_id, number) = (part.room_id.clone(), part.number);
            asks.push(Ask::Gap { room_id, number, from, to });
        }
        last_room = Some(part.room_id);
    }
    Ok(asks)
}

/// Processes a page of `GET /rooms/…/messages` that was requested from `asked_from` on.
pub(super) fn gap_answered(
    work: &mut Work<'_>,
    room_id: &str,
    number: i64,
    asked_from: &str,
    body: &str,
) -> Result<()> {
    let page = MessagesPage::read(body)?;
    let gap: Option<HeldTimeline> = work.tx.get(&[room_id.into(), number.into()])?;
    let Some(HeldTimeline { part: HeldPart::Gap { from, to, fetched }, .. }) = gap else {
        return Ok(());
    };
    // Another process may have processed this page already.
    if from != asked_from {
        return Ok(());
    }
    decrypt_ahead(work, room_id, page.chunk.iter().map(|event| event.get()))?;
    for event in &page.chunk {
        timeline::take_event(work, room_id, event.get())?;
    }
    let is_empty = fetched == 0 && page.chunk.is_empty();
    // A page may be empty and not the last, so it counts as one event at least.
    let fetched = fetched + page.chunk.len().max(1);
    match page.end {
        Some(end) if end != to && end != from => {
            if fetched >= LARGEST_GAP {
                return give_up_gap(work, room_id, number, "there are too many of them");
            }
            let part = HeldPart::Gap { from: end, to, fetched };
            work.tx.put(&HeldTimeline { room_id: room_id.to_owned(), number, part })
        }
        // The sync left events out, and there are none.
        _ if is_empty => give_up_gap(work, room_id, number, "the server returns none of them"),
        _ => close_gap(work, room_id, number),
    }
}

/// Closes a gap that cannot be filled, with a row that says so.
pub(super) fn give_up_gap(
    work: &mut Work<'_>,
    room_id: &str,
    number: i64,
    why: &str,
) -> Result<()> {
    let message = format!("Events are missing here and cannot be fetched: {why}.");
    inbox::hand_over(work, inbox::missing(room_id, UtdReason::Gap.because(message)))?;
    close_gap(work, room_id, number)
}

/// Delivers what was held back behind a gap, up to the next one.
fn close_gap(work: &mut Work<'_>, room_id: &str, number: i64) -> Result<()> {
    work.tx.delete::<HeldTimeline>(&[room_id.into(), number.into()])?;
    for part in work.tx.select::<HeldTimeline>(&Query::equal("room_id", room_id))? {
        let HeldPart::Event { raw } = &part.part else { break };
        timeline::take_event(work, room_id, raw)?;
        work.tx.delete::<HeldTimeline>(&part.key())?;
    }
    Ok(())
}

/// Fetches the events that syncs left out.
pub(super) fn request(pump: &mut Pump<'_, '_>) -> Result<()> {
    for ask in open_gaps(pump.work)? {
        let Ask::Gap { room_id, number, .. } = &ask else { continue };
        if !is_segment(room_id) {
            give_up_gap(pump.work, room_id, *number, "no request can name this room")?;
        } else if !pump.is_full() {
            pump.ask(ask, Body::Implied)?;
        }
    }
    Ok(())
}
