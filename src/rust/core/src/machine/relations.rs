//! Edits: what they are judged by is remembered, and they are applied to old events.
//!
//! Which event another relates to stands outside of the ciphertext, and the server chooses which
//! edits it shows. So an edit counts only after [`relation::judge`], and nothing the server says of
//! aggregations is believed.

use super::{Edit, Handed, Machine, Work, message_trust, outbox::is_encrypted};
use crate::{
    error::Result,
    judgement::{identifier, relation, room_event::REACTION},
    store::records::{Event, Facts, OutboxBody, OutboxRow},
};

impl Machine {
    /// Why edits of ours of the messages `event_ids` would not count; none where they would, or
    /// where nothing is known of an event.
    ///
    /// # Errors
    /// Those of the store.
    pub fn edit_refusals(
        &mut self,
        room_id: &str,
        event_ids: &[String],
    ) -> Result<Vec<Option<&'static str>>> {
        self.read(|work| {
            let refusal = |id: &String| {
                let facts = work.tx.facts_of(room_id, id)?;
                let us = work.own.user_id.as_str();
                Ok(facts.and_then(|facts| {
                    relation::refusal(Some(&facts), us, "m.room.message", facts.encrypted)
                }))
            };
            event_ids.iter().map(refusal).collect()
        })
    }
}

/// Remembers an event, to judge later edits of it by.
pub(super) fn remember(work: &Work<'_>, event: &Event) -> Result<()> {
    match (&event.event_id, Facts::of(event)) {
        (Some(event_id), Some(facts)) => work.tx.remember_facts(&event.room_id, event_id, &facts),
        _ => Ok(()),
    }
}

/// Remembers an event that was just sent: it may be edited before it comes back with a sync.
pub(super) fn remember_own(work: &Work<'_>, row: &OutboxRow, event_id: &str) -> Result<()> {
    let (event_type, content) = match &row.body {
        OutboxBody::Event { event_type, content, .. } => (event_type.as_str(), content),
        OutboxBody::Reaction { content } => (REACTION, content),
        _ => return Ok(()),
    };
    if !identifier::is_sound(event_id) {
        return Ok(());
    }
    let facts = Facts {
        sender: work.own.user_id.clone(),
        event_type: event_type.to_owned(),
        encrypted: is_encrypted(row),
        is_edit: relation::target_in(content, relation::REPLACE).is_some(),
    };
    work.tx.remember_facts(&row.room_id, event_id, &facts)
}

/// An event as it is delivered now: with the trust in it, and with what it replaces.
pub(super) fn delivered(
    work: &Work<'_>,
    number: i64,
    event: Event,
    hold_back: bool,
) -> Result<Handed> {
    let mut handed = message_trust::judged(work, number, event, hold_back)?;
    judge_edit(work, &mut handed)?;
    Ok(handed)
}

/// Notes what an event replaces, or why it does not.
pub(super) fn judge_edit(work: &Work<'_>, handed: &mut Handed) -> Result<()> {
    let edit = &handed.event;
    let Some(target) = edit.replaces.as_ref() else { return Ok(()) };
    let original = work.tx.facts_of(&edit.room_id, target)?;
    judge_edit_of(handed, original.as_ref());
    Ok(())
}

/// The same for an edit of what has these facts.
pub(super) fn judge_edit_of(handed: &mut Handed, original: Option<&Facts>) {
    let edit = &handed.event;
    let Some(target) = edit.replaces.as_ref().filter(|_| edit.unreadable.is_none()) else {
        return;
    };
    match relation::judge(edit, original) {
        Ok(_) => handed.replaces = Some(target.clone()),
        Err(reason) => handed.edit_reason = Some(reason.to_owned()),
    }
}

/// Finds the newest of `edits` that counts for `handed`. `bundled`, which the server says is the
/// newest, is one of them; if it does not count, the reason is noted.
pub(super) fn find_edit(
    work: &Work<'_>,
    handed: &mut Handed,
    bundled: Option<Event>,
    edits: &[Event],
    hold_back: bool,
) -> Result<()> {
    let facts = Facts::of(&handed.event);
    if facts.as_ref().is_none_or(|facts| facts.is_edit) {
        return Ok(());
    }
    let is_bundled = bundled.as_ref().map(|_| 0);
    let mut newest = None;
    for (place, edit) in bundled.into_iter().chain(edits.iter().cloned()).enumerate() {
        let age = (edit.origin_server_ts, edit.event_id.clone());
        let edit = message_trust::judged(work, 0, edit, hold_back)?;
        let new = match &edit.event.unreadable {
            Some(reason) => Err(reason.code.as_str()),
            None if edit.event.replaces != handed.event.event_id => Err("unrelated"),
            None => relation::judge(&edit.event, facts.as_ref())
                .and_then(|new| relation::replaced(&handed.event.content, new)),
        };
        match new {
            Ok(new) if newest.as_ref().is_none_or(|(known, _, _)| *known < age) => {
                newest = Some((age, new, edit.trust));
            }
            Err(reason) if is_bundled == Some(place) => {
                handed.edit_reason = Some(reason.to_owned());
            }
            _ => {}
        }
    }
    if let Some((_, content, trust)) = newest {
        handed.edit = Some(Edit { content, trust: trust.min(handed.trust) });
    }
    Ok(())
}
