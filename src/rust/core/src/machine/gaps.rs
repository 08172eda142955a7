//! Gaps in timelines.
//!
//! A sync that leaves events out commits the gap together with its token. The events behind the gap
//! are held back, and the missing ones fetched in order, so that a room is handed over in order and
//! no event is lost in silence. State is taken in at once, held back or not.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Work, timeline::notice};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::unique_map::read_object,
    store::{
        Query, Record,
        records::{Ask, HeldPart, HeldTimeline},
    },
};

/// A gap of more events than this is given up, and a row says so.
const LARGEST_GAP: usize = 20_000;
/// How many events are fetched at a time.
pub(super) const PAGE: usize = 200;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    chunk: Vec<&'a RawValue>,
    #[serde(default)]
    end: Option<String>,
}

impl Work<'_> {
    /// Takes in the timeline of a room, after a gap that begins at `gap_from` if there is one.
    pub(super) fn take_timeline(
        &mut self,
        room_id: &str,
        gap: Option<(String, String)>,
        events: &[String],
    ) -> Result<()> {
        if let Some((from, to)) = gap {
            self.hold(room_id, HeldPart::Gap { from, to, fetched: 0 })?;
        }
        let held = self.tx.count::<HeldTimeline>(&Query::equal("room_id", room_id))? > 0;
        for text in events {
            if held {
                self.hold(room_id, HeldPart::Event { raw: text.clone() })?;
            } else {
                self.take_event(room_id, text)?;
            }
        }
        Ok(())
    }

    fn hold(&self, room_id: &str, part: HeldPart) -> Result<()> {
        let number = self.tx.take_number("held timeline")?;
        self.tx.put(&HeldTimeline { room_id: room_id.to_owned(), number, part })
    }

    /// The gaps that can be filled now: the first of each room. (What is held of a room always begins
    /// with a gap.)
    pub(super) fn open_gaps(&self) -> Result<Vec<Ask>> {
        let mut asks: Vec<Ask> = Vec::new();
        let mut last_room = None;
        for part in self.tx.select::<HeldTimeline>(&Query::equal("is_gap", 1))? {
            if let HeldPart::Gap { from, .. } = part.part
                && last_room.as_ref() != Some(&part.room_id)
            {
                let (room_id, number) = (part.room_id.clone(), part.number);
                asks.push(Ask::Gap { room_id, number, from });
            }
            last_room = Some(part.room_id);
        }
        Ok(asks)
    }

    /// The gap `number`, as the tokens of what is still missing.
    pub(super) fn gap(&self, room_id: &str, number: i64) -> Result<Option<(String, String)>> {
        let part: Option<HeldTimeline> = self.tx.get(&[room_id.into(), number.into()])?;
        Ok(match part.map(|part| part.part) {
            Some(HeldPart::Gap { from, to, .. }) => Some((from, to)),
            _ => None,
        })
    }

    /// Takes in a page of `GET /rooms/…/messages` that was asked for from `asked_from` on.
    pub(super) fn gap_answered(
        &mut self,
        room_id: &str,
        number: i64,
        asked_from: &str,
        body: &str,
    ) -> Result<()> {
        let page: Page<'_> = read_object(body).or_fail(Kind::Answer, "A page of messages")?;
        let gap: Option<HeldTimeline> = self.tx.get(&[room_id.into(), number.into()])?;
        let Some(HeldTimeline { part: HeldPart::Gap { from, to, fetched }, .. }) = gap else {
            return Ok(());
        };
        // Another process may have taken in this page already.
        if from != asked_from {
            return Ok(());
        }
        for event in &page.chunk {
            self.take_event(room_id, event.get())?;
        }
        // A page may be empty and not the last, so it counts as one event at least.
        let fetched = fetched + page.chunk.len().max(1);
        match page.end {
            Some(end) if end != to && end != from => {
                if fetched >= LARGEST_GAP {
                    return self.give_up_gap(room_id, number, "there are too many of them");
                }
                let part = HeldPart::Gap { from: end, to, fetched };
                self.tx.put(&HeldTimeline { room_id: room_id.to_owned(), number, part })
            }
            _ => self.close_gap(room_id, number),
        }
    }

    /// Closes a gap that cannot be filled, with a row that says so.
    pub(super) fn give_up_gap(&mut self, room_id: &str, number: i64, why: &str) -> Result<()> {
        let message = format!("Events are missing here and cannot be fetched: {why}.");
        self.hand_over(notice(room_id, "", "gap", &message))?;
        self.close_gap(room_id, number)
    }

    /// Hands over what stood behind a gap, up to the next one.
    fn close_gap(&mut self, room_id: &str, number: i64) -> Result<()> {
        self.tx.delete::<HeldTimeline>(&[room_id.into(), number.into()])?;
        for part in self.tx.select::<HeldTimeline>(&Query::equal("room_id", room_id))? {
            let HeldPart::Event { raw } = &part.part else { break };
            self.take_event(room_id, raw)?;
            self.tx.delete::<HeldTimeline>(&part.key())?;
        }
        Ok(())
    }
}
