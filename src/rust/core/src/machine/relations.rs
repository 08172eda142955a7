//! Edits: what they are judged by is remembered, and they are applied to old events.
//!
//! Which event another relates to stands outside of the ciphertext, and the server chooses which
//! edits it shows. So an edit counts only after [`relation::judge`], and nothing the server says of
//! aggregations is believed.

use super::{Handed, Machine, Work, outbox::is_encrypted};
use crate::{
    error::Result,
    judgement::{identifier, relation, trust::Trust},
    primitives::canonical_json::Json,
    store::{
        Query,
        records::{Event, Facts, Original, OutboxBody, OutboxRow},
    },
};

/// How many events are remembered. Edits of older ones cannot be judged when they come alone.
const MOST_ORIGINALS: i64 = 100_000;

/// The newest edit of an event.
#[derive(Debug)]
pub struct Edit {
    /// The content of the event as it is by now.
    pub content: String,
    /// The lower of the trust in the event and in its edit.
    pub trust: Trust,
}

impl Handed {
    /// Shows the event as its newest edit says.
    pub fn apply_edit(&mut self) {
        if let Some(edit) = &self.edit {
            self.event.content.clone_from(&edit.content);
            self.trust = edit.trust;
        }
        if let Some(latest) = &mut self.latest_in_thread {
            latest.apply_edit();
        }
    }
}

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
        self.work(0, |work| {
            let refusal = |id: &String| {
                let facts = work.original(room_id, id)?;
                let us = work.own.user_id.as_str();
                Ok(facts.and_then(|facts| {
                    relation::refusal(Some(&facts), us, "m.room.message", facts.encrypted)
                }))
            };
            event_ids.iter().map(refusal).collect()
        })
    }
}

impl Work<'_> {
    /// Remembers an event, to judge later edits of it by.
    pub(super) fn remember(&self, event: &Event) -> Result<()> {
        match (&event.event_id, Facts::of(event)) {
            (Some(event_id), Some(facts)) => self.remember_facts(&event.room_id, event_id, facts),
            _ => Ok(()),
        }
    }

    /// Remembers an event that was just sent: it may be edited before it comes back with a sync.
    pub(super) fn remember_own(&self, row: &OutboxRow, event_id: &str) -> Result<()> {
        let OutboxBody::Event { event_type, content, .. } = &row.body else { return Ok(()) };
        if !identifier::is_sound(event_id) {
            return Ok(());
        }
        let content = Json::parse_object(content).unwrap_or_default();
        let facts = Facts {
            sender: self.own.user_id.clone(),
            event_type: event_type.clone(),
            encrypted: is_encrypted(row),
            is_edit: relation::target(&content, relation::REPLACE).is_some(),
        };
        self.remember_facts(&row.room_id, event_id, facts)
    }

    fn remember_facts(&self, room_id: &str, event_id: &str, facts: Facts) -> Result<()> {
        let key = [room_id.into(), event_id.into()];
        match self.tx.get::<Original>(&key)? {
            None => self.tx.put(&Original {
                room_id: room_id.to_owned(),
                event_id: event_id.to_owned(),
                number: self.tx.take_number("original")?,
                facts: Some(facts),
            }),
            // The server shows two events under one id: who could say which one is edited?
            Some(known) if known.facts.as_ref().is_some_and(|known| *known != facts) => {
                self.tx.put(&Original { facts: None, ..known })
            }
            Some(_) => Ok(()),
        }
    }

    /// Forgets the oldest events beyond the bound.
    pub(super) fn bound_originals(&self) -> Result<()> {
        let surplus = self.tx.last_number("original")? - MOST_ORIGINALS;
        if surplus > 0 {
            self.tx.delete_where::<Original>(&Query::all().until("number", surplus))?;
        }
        Ok(())
    }

    fn original(&self, room_id: &str, event_id: &str) -> Result<Option<Facts>> {
        let found = self.tx.get::<Original>(&[room_id.into(), event_id.into()])?;
        Ok(found.and_then(|original| original.facts))
    }

    /// Notes what an event replaces, or why it does not.
    pub(super) fn judge_edit(&self, handed: &mut Handed) -> Result<()> {
        let edit = &handed.event;
        let Some(target) = edit.replaces.as_ref().filter(|_| edit.unreadable.is_none()) else {
            return Ok(());
        };
        let original = self.original(&edit.room_id, target)?;
        match relation::judge(edit, original.as_ref()) {
            Ok(_) => handed.replaces = Some(target.clone()),
            Err(reason) => handed.edit_reason = Some(reason.to_owned()),
        }
        Ok(())
    }

    /// Finds the newest of `edits` that counts for `handed`. `bundled`, which the server says is the
    /// newest, is one of them; if it does not count, the reason is noted.
    pub(super) fn find_edit(
        &self,
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
            let edit = self.judged(0, edit, hold_back)?;
            let new = match &edit.event.unreadable {
                Some(reason) => Err(reason.code.as_str()),
                None if edit.event.replaces != handed.event.event_id => Err("unrelated"),
                None => relation::judge(&edit.event, facts.as_ref()),
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
        if let Some((_, new, trust)) = newest {
            let content = relation::replaced(&handed.event.content, new)?;
            handed.edit = Some(Edit { content, trust: trust.min(handed.trust) });
        }
        Ok(())
    }
}
