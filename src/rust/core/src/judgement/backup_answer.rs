//! The keys of a backup as the server returns them: all of them in one response.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups". A response may be as
//! large as the history of an account, so it is read as it comes and written as parts, which are processed
//! one by one. A name that stands twice is read twice: keys are judged one by one, and none replaces a better
//! one.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead, Read, Write},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::error::{Kind, OrFail, Result};

/// Some keys of a room, by the ids of their sessions.
#[derive(Default, Serialize, Deserialize)]
pub struct Part {
    /// The room.
    pub room_id: String,
    /// The keys, as text.
    pub sessions: BTreeMap<String, Box<RawValue>>,
}

impl Part {
    /// Reads a line that [`write_parts`] has written.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is none.
    pub fn read(line: &str) -> Result<Self> {
        serde_json::from_str(line).or_fail(Kind::Answer, "A part of the keys of the backup")
    }
}

/// Which keys were requested.
#[derive(Clone, Copy)]
pub enum Scope<'a> {
    /// All keys.
    All,
    /// Those of a room.
    Room(&'a str),
    /// That of a session of a room.
    Session(&'a str, &'a str),
}

/// Writes the keys of a response to `GET /room_keys/keys…` to `file`, a line for at most `most`
/// keys of a room. Returns how many keys there are.
///
/// # Errors
/// [`Kind::Answer`] when it is no such response, or cannot be read or written.
pub fn write_parts(
    answer: impl BufRead,
    scope: Scope<'_>,
    most: usize,
    file: impl Write,
) -> Result<usize> {
    let mut parts = Parts { file, most, keys: 0 };
    let read = read_answer(answer, scope, &mut parts)
        .and_then(|()| parts.file.flush().map_err(serde_json::Error::io));
    read.or_fail(Kind::Answer, "The keys of the backup")?;
    Ok(parts.keys)
}

fn read_answer(
    answer: impl Read,
    scope: Scope<'_>,
    parts: &mut Parts<impl Write>,
) -> serde_json::Result<()> {
    let mut answer = serde_json::Deserializer::from_reader(answer);
    match scope {
        Scope::All => Member("rooms", Rooms(parts)).deserialize(&mut answer)?,
        Scope::Room(room_id) => {
            let room_id = room_id.to_owned();
            Member("sessions", Sessions { room_id, parts }).deserialize(&mut answer)?;
        }
        Scope::Session(room_id, session_id) => {
            let text = Box::<RawValue>::deserialize(&mut answer)?;
            let sessions = BTreeMap::from([(session_id.to_owned(), text)]);
            parts.write(&Part { room_id: room_id.to_owned(), sessions })?;
        }
    }
    answer.end()
}

struct Parts<W> {
    file: W,
    most: usize,
    keys: usize,
}

impl<W: Write> Parts<W> {
    fn write(&mut self, part: &Part) -> serde_json::Result<()> {
        if part.sessions.is_empty() {
            return Ok(());
        }
        self.keys += part.sessions.len();
        // A server may break its lines: outside of texts a break is as good as a space, and in a
        // text there is none.
        let line = serde_json::to_string(part)?.replace(['\n', '\r'], " ");
        writeln!(self.file, "{line}").map_err(serde_json::Error::io)
    }
}

/// The member of an object by this name, and nothing of the others.
struct Member<S>(&'static str, S);

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Member<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Member<S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seed = Some(self.1);
        while let Some(name) = members.next_key::<String>()? {
            match seed.take_if(|_| name == self.0) {
                Some(seed) => members.next_value_seed(seed)?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        if seed.is_some() { Err(A::Error::missing_field(self.0)) } else { Ok(()) }
    }
}

/// Rooms by their ids.
struct Rooms<'a, W>(&'a mut Parts<W>);

impl<'de, W: Write> DeserializeSeed<'de> for Rooms<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Rooms<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rooms")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rooms: A) -> Result<(), A::Error> {
        while let Some(room_id) = rooms.next_key::<String>()? {
            rooms.next_value_seed(Member("sessions", Sessions { room_id, parts: self.0 }))?;
        }
        Ok(())
    }
}

/// The sessions of a room by their ids.
struct Sessions<'a, W> {
    room_id: String,
    parts: &'a mut Parts<W>,
}

impl<'de, W: Write> DeserializeSeed<'de> for Sessions<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Sessions<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sessions")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut sessions: A) -> Result<(), A::Error> {
        let mut part = Part { room_id: self.room_id, ..Part::default() };
        while let Some((session_id, text)) = sessions.next_entry()? {
            part.sessions.insert(session_id, text);
            if part.sessions.len() == self.parts.most {
                self.parts.write(&part).map_err(A::Error::custom)?;
                part.sessions.clear();
            }
        }
        self.parts.write(&part).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(answer: &str, scope: Scope<'_>) -> Result<(usize, Vec<Part>)> {
        let mut file = Vec::new();
        let keys = write_parts(answer.as_bytes(), scope, 3, &mut file)?;
        let lines = String::from_utf8(file).unwrap();
        Ok((keys, lines.lines().map(|line| Part::read(line).unwrap()).collect()))
    }

    #[test]
    fn many_keys_come_in_parts() {
        let sessions: Vec<_> = (0..7).map(|n| format!("\"{n}\":{{}}")).collect();
        let room = format!(r#"{{"sessions":{{{}}}}}"#, sessions.join(","));
        let sizes = |answer: &str, scope| {
            let (keys, parts) = parts(answer, scope).unwrap();
            (keys, parts.iter().map(|part| part.sessions.len()).collect::<Vec<_>>())
        };
        assert_eq!(sizes(&room, Scope::Room("!r")), (7, vec![3, 3, 1]));
        let all = format!(r#"{{"rooms":{{"!r":{room},"!s":{{"sessions":{{}}}},"!t":{room}}}}}"#);
        assert_eq!(sizes(&all, Scope::All), (14, vec![3, 3, 1, 3, 3, 1]));
        assert_eq!(sizes("{}", Scope::Session("!r", "s")), (1, vec![1]));
    }

    #[test]
    fn a_line_is_a_line_however_the_server_writes() {
        let answer = "{\n\"x\": 1, \"rooms\": {\"!r\\n\": {\"sessions\":\r\n {\"s\\n\": {\n}}}}}\n";
        let found = parts(answer, Scope::All).unwrap().1;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].room_id, "!r\n");
        assert!(found[0].sessions.contains_key("s\n"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for odd in [
            "",
            "[]",
            "{}",
            r#"{"rooms":[]}"#,
            r#"{"rooms":{"r":5}}"#,
            r#"{"rooms":{"r":{}}}"#,
            r#"{"rooms":{}} x"#,
            r#"{"rooms":{"r":{"sessions":{"s":"#,
        ] {
            assert_eq!(parts(odd, Scope::All).err().unwrap().kind, Kind::Answer, "{odd}");
        }
        assert_eq!(parts("5 5", Scope::Session("!r", "s")).err().unwrap().kind, Kind::Answer);
    }
}
