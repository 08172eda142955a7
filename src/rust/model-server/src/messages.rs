//! Paging through a room's past with `/messages`.
//!
//! A token marks a place between two events, the same in both directions: paging backward gives
//! the events at or before it, paging forward those after it.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::Event;
use crate::http::Call;
use crate::room::NOW;
use crate::sync::Position;
use crate::token::Caller;

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 1000;

impl ModelServer {
    pub(crate) fn messages(&self, me: &Caller, room: &str, call: &Call) -> Reply {
        let (room, _) = self.readable_room(&me.user, room)?;
        let backward = is_backward(call)?;
        let limit = call.number("limit")?.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        let place = |name| call.query(name).map(|text| self.position_in(text, name)).transpose();
        let (from, to) = (place("from")?.map(Position::stream), place("to")?.map(Position::stream));

        let (after, until) = match backward {
            true => (to.unwrap_or(0), from.unwrap_or(NOW)),
            false => (from.unwrap_or(0), to.unwrap_or(NOW)),
        };
        let visible = |event: &&Event| room.is_visible(event, &me.user);
        let events = room.between(after, until.max(after)).iter();
        let mut found: Vec<&Event> = match backward {
            true => events.rev().filter(visible).take(limit + 1).collect(),
            false => events.filter(visible).take(limit + 1).collect(),
        };
        let is_more = found.len() > limit;
        found.truncate(limit);

        let chunk: Vec<Value> = found.iter().map(|event| room.render_whole(event, me)).collect();
        let first = Position::at(if backward { self.position } else { 0 }).to_string();
        let start = call.query("from").unwrap_or(&first);
        let mut answer = json!({"start": start, "chunk": chunk});
        if let Some(last) = found.last().filter(|_| is_more) {
            let end = if backward { last.position - 1 } else { last.position };
            answer["end"] = Value::from(Position::at(end).to_string());
        }
        Ok(answer)
    }
}

fn is_backward(call: &Call) -> Result<bool, Error> {
    match call.query("dir") {
        Some("b") => Ok(true),
        Some("f") => Ok(false),
        Some(_) => Err(Error::invalid_param("Query parameter dir must be b or f")),
        None => Err(Error::missing_param("dir")),
    }
}
