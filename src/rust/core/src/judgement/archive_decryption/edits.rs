//! Which edits count among the events of a decryption. An original may come after its edit, so that is judged at the end.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::{
    judgement::relation,
    store::records::{Event, Facts},
};

/// The edits that came, and what is known of the events that they may replace.
#[derive(Default)]
pub(super) struct Edits {
    /// What edits of an event are judged by: the place in `shared`, for few differ. None where two events have its id.
    facts: HashMap<u64, Option<usize>>,
    shared: Vec<Facts>,
    numbers: HashMap<Facts, usize>,
    edits: Vec<(usize, Event)>,
    hasher: RandomState,
}

impl Edits {
    /// Remembers the event of a row.
    pub(super) fn remember(&mut self, row: usize, event: &Event) {
        let Some((id, facts)) = event.event_id.as_ref().zip(Facts::of(event)) else { return };
        if event.replaces.is_some() {
            self.edits.push((row, event.clone()));
        }
        let number = *self.numbers.entry(facts).or_insert_with_key(|facts| {
            self.shared.push(facts.clone());
            self.shared.len() - 1
        });
        let key = self.hasher.hash_one((&event.room_id, id));
        let known = self.facts.entry(key).or_insert(Some(number));
        if *known != Some(number) {
            *known = None;
        }
    }

    /// The rows that are edits, each with the event that it replaces, or with the reason why it does not. Only what
    /// was decrypted here is known.
    pub(super) fn judge(&self) -> Vec<(usize, Result<&str, &'static str>)> {
        self.edits
            .iter()
            .map(|(row, edit)| {
                let target = edit.replaces.as_deref().unwrap_or_default();
                let original = self.facts_of(&edit.room_id, target);
                (*row, relation::judge(edit, original).map(|_| target))
            })
            .collect()
    }

    fn facts_of(&self, room_id: &String, event_id: &str) -> Option<&Facts> {
        let number = self.facts.get(&self.hasher.hash_one((room_id, event_id)))?;
        self.shared.get((*number)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decryption, Row, scratch::*};
    use crate::primitives::megolm;

    #[test]
    fn edits_are_judged_by_what_is_read_beside_them() {
        let mut session = megolm::outbound();
        let keys = vec![imported(&session)];
        let mut edit = |event_id: &str, target: &str, sender: &str| {
            let plaintext = format!(
                r#"{{"type":"m.room.message","content":{{"m.new_content":{{}}}},"room_id":"{ROOM}"}}"#
            );
            let ciphertext = megolm::encrypt(&mut session, plaintext.as_bytes());
            let relation =
                format!(r#","m.relates_to":{{"rel_type":"m.replace","event_id":"{target}"}}"#);
            let content = with_ciphertext(&session, &ciphertext, &relation);
            Row { sender: Some(sender.into()), ..row(event_id, content) }
        };
        let edits = [
            edit("$1", "$original", ALICE),
            edit("$2", "$original", MALLORY),
            edit("$3", "$1", ALICE),
            edit("$4", "$absent", ALICE),
            edit("$5", "$twice", ALICE),
            edit("$6", "$unread", ALICE),
            edit("$7", "$elsewhere", ALICE),
        ];
        let plain = |event_id: &str| Row {
            event_type: Some("m.room.message".into()),
            event_id: Some(event_id.into()),
            ..edits[0].clone()
        };
        let mut decryption = Decryption::new(keys);
        decryption.read(&edits);
        decryption.read(&[plain("$8")]);
        let originals = [
            message(&mut session, "$original"),
            message(&mut session, "$twice"),
            Row { sender: Some(MALLORY.into()), ..message(&mut session, "$twice") },
        ];
        assert!(decryption.read(&originals).iter().all(|event| code(event) == "read"));
        let content = Some("{}".into());
        let of_another_room =
            Row { room_id: Some("!other".into()), content, ..plain("$elsewhere") };
        decryption.read(&[message(&mut megolm::outbound(), "$unread"), of_another_room]);
        let judged = decryption.edits();
        let expected = [
            (0, Ok("$original")),
            (1, Err("other_sender")),
            (2, Err("edit_of_edit")),
            (3, Err("unknown_original")),
            (4, Err("unknown_original")),
            (5, Err("unknown_original")),
            (6, Err("unknown_original")),
            (7, Err("not_encrypted")),
        ];
        assert_eq!(judged, expected);
    }
}
