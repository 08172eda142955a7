//! Account data: what a user stores for all their devices, globally or for a room.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::Object;
use crate::token::Caller;

/// Types that only the server may write.
const RESERVED: [&str; 2] = ["m.fully_read", "m.push_rules"];

/// Entries by type, in one map for each room and one, under none, for the whole account.
#[derive(Default)]
pub(crate) struct AccountData(BTreeMap<Option<String>, BTreeMap<String, Entry>>);

struct Entry {
    position: u64,
    content: Object,
}

impl AccountData {
    /// What was written after a position, as events.
    pub(crate) fn since(&self, room: Option<&str>, since: u64) -> Vec<Value> {
        let entries = self.0.get(&room.map(str::to_owned)).into_iter().flatten();
        entries
            .filter(|(_, entry)| entry.position > since)
            .map(|(kind, entry)| json!({"type": kind, "content": entry.content}))
            .collect()
    }
}

impl ModelServer {
    pub(crate) fn account_data(
        &mut self,
        me: &Caller,
        user: &str,
        room: Option<&str>,
        kind: &str,
    ) -> Reply {
        me.must_be(user)?;
        let entries = self.user_of(me)?.account_data.0.get(&room.map(str::to_owned));
        let entry = entries.and_then(|entries| entries.get(kind));
        let missing = || Error::not_found("Account data not found");
        entry.map(|entry| Value::Object(entry.content.clone())).ok_or_else(missing)
    }

    pub(crate) fn set_account_data(
        &mut self,
        me: &Caller,
        user: &str,
        room: Option<&str>,
        kind: &str,
        call: &Call,
    ) -> Reply {
        me.must_be(user)?;
        if RESERVED.contains(&kind) {
            let error = format!("Cannot set {kind} through this API.");
            return Err(Error::new(405, "M_BAD_JSON", error));
        }
        let content = call.object()?;
        let position = self.advance();
        let entries = &mut self.user_of(me)?.account_data.0;
        let entries = entries.entry(room.map(str::to_owned)).or_default();
        entries.insert(kind.to_owned(), Entry { position, content });
        Ok(json!({}))
    }
}
