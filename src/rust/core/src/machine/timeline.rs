//! Events of a timeline, on their way to the inbox.

use super::{Handed, Machine, Work};
use crate::{
    error::Result,
    judgement::{
        reasons,
        room_event::{RoomEvent, unreadable},
    },
    store::{
        Query, Record,
        records::{Event, InboxRow, WaitingEvent},
    },
};

/// The type of a row that stands for events which are missing.
pub(super) const MISSING: &str = "mxcrypt.missing";

impl Machine {
    /// The events that wait for a key, oldest first, with the reasons that hold now.
    ///
    /// # Errors
    /// Those of the store.
    pub fn undecrypted(&mut self) -> Result<Vec<Handed>> {
        self.work(0, |work| {
            let mut waiting = work.tx.select::<WaitingEvent>(&Query::all())?;
            waiting.sort_by_key(|event| event.number);
            let mut rows = Vec::with_capacity(waiting.len());
            for event in waiting {
                let Ok(outer) = RoomEvent::read(&event.raw) else { continue };
                let read = work.read_event(&event.room_id, &outer)?;
                rows.push(work.judged(event.number, read, false)?);
            }
            Ok(rows)
        })
    }
}

impl Work<'_> {
    /// Reads an event and puts it in the inbox. An event that waits for its key is kept as well,
    /// and put there once more when it can be read.
    pub(super) fn take_event(&mut self, room_id: &str, text: &str) -> Result<()> {
        let event = match RoomEvent::read(text) {
            Ok(event) => event,
            Err(error) => {
                return self.hand_over(notice(room_id, "", "malformed_event", &error.message));
            }
        };
        self.recognise_own(room_id, &event)?;
        let read = self.read_event(room_id, &event)?;
        self.note_verification(&read)?;
        if let (Some(reason), Some(session_id)) = (&read.unreadable, &read.session_id)
            && reasons::waits_for_key(&reason.code)
        {
            if !["before_join", "sender_mismatch"].contains(&reason.code.as_str()) {
                self.want_key(room_id, session_id, &event.sender)?;
            }
            let patient = reason.code.starts_with("unknown_");
            self.search_backup(room_id, session_id, patient)?;
            self.tx.put(&WaitingEvent {
                room_id: room_id.to_owned(),
                session_id: session_id.clone(),
                event_id: event.event_id.clone(),
                number: self.tx.take_number("waiting event")?,
                raw: text.to_owned(),
            })?;
        }
        self.hand_over(read)
    }

    /// Reads the events that waited for a session, in the order in which they came.
    pub(super) fn read_waiting(&mut self, room_id: &str, session_id: &str) -> Result<()> {
        let of_session = Query::equal("room_id", room_id).and("session_id", session_id);
        let mut waiting = self.tx.select::<WaitingEvent>(&of_session)?;
        waiting.sort_by_key(|event| event.number);
        for event in waiting {
            let Ok(outer) = RoomEvent::read(&event.raw) else { continue };
            let read = self.read_event(room_id, &outer)?;
            if read.unreadable.as_ref().is_some_and(|why| reasons::waits_for_key(&why.code)) {
                continue;
            }
            self.tx.delete::<WaitingEvent>(&event.key())?;
            self.note_verification(&read)?;
            self.hand_over(read)?;
        }
        Ok(())
    }

    /// Puts an event in the inbox.
    pub(super) fn hand_over(&self, event: Event) -> Result<()> {
        let number = self.tx.take_number("inbox")?;
        self.tx.put(&InboxRow { number, event })
    }

    /// An invitation is handed over as the membership event it is; it has no id yet.
    pub(super) fn take_invitation(&mut self, room_id: &str, state: &[String]) -> Result<()> {
        use crate::{primitives::canonical_json::Json, store::records::Membership};
        self.set_own_membership(room_id, Membership::Invite)?;
        for text in state {
            let Ok(event) = Json::parse_object(text) else { continue };
            let member = |name: &str| event.get(name).and_then(Json::as_str);
            match (member("type"), member("state_key")) {
                (Some(event_type), Some("")) => {
                    if let Some(content) = event.get("content").and_then(Json::as_object) {
                        self.note_description(room_id, event_type, content)?;
                    }
                }
                (Some("m.room.member"), Some(user)) if user == self.own.user_id => {
                    let inviter = member("sender").unwrap_or_default().to_owned();
                    self.hand_over(Event {
                        room_id: room_id.to_owned(),
                        event_type: "m.room.member".into(),
                        state_key: Some(self.own.user_id.clone()),
                        sender: inviter.clone(),
                        content: r#"{"membership":"invite"}"#.into(),
                        ..Event::default()
                    })?;
                    self.change_room(room_id, |room| room.inviter = Some(inviter))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A row that is not an event of the server but says something about events.
pub(super) fn notice(room_id: &str, sender: &str, code: &str, message: &str) -> Event {
    Event {
        room_id: room_id.to_owned(),
        event_type: MISSING.to_owned(),
        sender: sender.to_owned(),
        content: "{}".to_owned(),
        unreadable: Some(unreadable(code, message)),
        ..Event::default()
    }
}
