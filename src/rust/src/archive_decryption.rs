//! Events that are decrypted with a set of room keys, for R: no store, no client.

use std::collections::{BTreeMap, BTreeSet};

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    judgement::{
        archive_decryption::{Decryption, Row, SessionKey},
        trust::Trust,
    },
    machine::Handed,
    primitives::{megolm::EXPORTED_LENGTH, parallel},
    store::records::{Event, KeySource},
};
use zeroize::Zeroizing;

use crate::{
    answer::{answer, number, raw, record, string, strings},
    arguments,
    events::{Form, frame_as},
    handle::{Held, keep, with},
    json::text_of,
    key_export::KeyImport,
    machine::on,
};

impl Held for Decryption {
    const NAME: &'static str = "a decryption";
}

/// Where keys come from.
const SOURCES: [KeySource; 6] = [
    KeySource::Own,
    KeySource::Direct,
    KeySource::Forwarded,
    KeySource::Backup,
    KeySource::Imported,
    KeySource::Bundle,
];

/// The columns of a list.
struct Columns(BTreeMap<String, Robj>);

impl Columns {
    fn of(value: &Robj, name: &str) -> Result<Self> {
        let list: List = value
            .try_into()
            .map_err(|_| Error::new(Kind::Argument, format!("`{name}` must be a list.")))?;
        let columns: BTreeMap<String, Robj> =
            list.iter().map(|(name, column)| (name.to_owned(), column)).collect();
        // Of two, one would be judged and the other shown.
        if columns.len() < list.len() {
            let sentence = format!("`{name}` must not have two columns of one name.");
            return Err(Error::new(Kind::Argument, sentence));
        }
        Ok(Self(columns))
    }

    fn get(&self, name: &str) -> Robj {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// As many strings as there are rows.
    fn texts(&self, name: &str, rows: usize) -> Result<Vec<Option<String>>> {
        let cells = arguments::cells(&self.get(name), name, rows)?;
        if cells.len() == rows { Ok(cells) } else { Err(uneven(name)) }
    }

    /// Missing is false.
    fn flags(&self, name: &str, rows: usize) -> Result<Vec<bool>> {
        let column = self.get(name);
        if column.is_null() {
            return Ok(vec![false; rows]);
        }
        let flags = column.as_logical_slice().filter(|flags| flags.len() == rows);
        Ok(flags.ok_or_else(|| uneven(name))?.iter().map(Rbool::is_true).collect())
    }

    fn times(&self, rows: usize) -> Result<Vec<Option<i64>>> {
        let name = "origin_server_ts";
        let column = self.get(name);
        let times = column.as_real_slice().filter(|times| times.len() == rows);
        let time = |time: &f64| (time.is_finite() && *time >= 0.0).then_some(*time as i64);
        Ok(times.ok_or_else(|| uneven(name))?.iter().map(time).collect())
    }

    /// JSON text, as it is or as a value of R.
    fn contents(&self, rows: usize) -> Result<Vec<Option<String>>> {
        let column = self.get("content");
        if column.is_null() || !column.is_list() {
            return self.texts("content", rows);
        }
        let list: List = (&column).try_into().map_err(|_| uneven("content"))?;
        if list.len() != rows {
            return Err(uneven("content"));
        }
        Ok(list.values().map(|value| content_of(&value)).collect())
    }
}

/// A text in a list is JSON, and so are bytes, as Spark and Arrow have them. Other values become it.
fn content_of(value: &Robj) -> Option<String> {
    match value.as_raw_slice() {
        Some(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        None if value.is_string() && value.len() == 1 => arguments::text(value, "content").ok(),
        None => text_of(value).ok(),
    }
}

fn uneven(name: &str) -> Error {
    Error::new(
        Kind::Argument,
        format!("The column `{name}` must be a vector of its type and length."),
    )
}

fn rows_of(events: &Robj) -> Result<Vec<Row>> {
    let columns = Columns::of(events, "events")?;
    let n = columns.get("event_id").len();
    let mut rows = vec![Row::default(); n];
    let text = |name: &str| columns.texts(name, n);
    let parts = text("room_id")?.into_iter().zip(text("event_id")?).zip(text("type")?);
    for (row, ((room_id, event_id), event_type)) in rows.iter_mut().zip(parts) {
        (row.room_id, row.event_id, row.event_type) = (room_id, event_id, event_type);
    }
    let parts = text("sender")?.into_iter().zip(text("state_key")?).zip(text("redacts")?);
    for (row, ((sender, state_key), redacts)) in rows.iter_mut().zip(parts) {
        (row.sender, row.state_key, row.redacts) = (sender, state_key, redacts);
    }
    let parts = columns.contents(n)?.into_iter().zip(columns.times(n)?);
    for (row, (content, time)) in rows.iter_mut().zip(parts) {
        (row.content, row.origin_server_ts) = (content, time);
    }
    let parts = columns.flags("redacted", n)?.into_iter().zip(columns.flags("decrypted", n)?);
    for (row, (redacted, decrypted)) in rows.iter_mut().zip(parts) {
        (row.redacted, row.decrypted) = (redacted, decrypted);
    }
    Ok(rows)
}

fn damaged() -> Error {
    Error::new(Kind::Argument, "`keys` is damaged: get the keys with mx_keys_for() again.")
}

fn keys_of(keys: &Robj) -> Result<Vec<SessionKey>> {
    let columns = Columns::of(keys, "keys")?;
    let n = columns.get("session_id").len();
    let text = |name: &str| columns.texts(name, n).map(Vec::into_iter);
    let needed = |text: Option<String>| text.ok_or_else(damaged);
    let all = columns.get("key");
    let all = arguments::bytes(&all, "keys")?;
    if all.len() != n * EXPORTED_LENGTH {
        return Err(damaged());
    }
    let (mut room_ids, mut session_ids) = (text("room_id")?, text("session_id")?);
    let (mut senders, mut sender_keys) = (text("sender")?, text("sender_key")?);
    let (mut signing_keys, mut sources) = (text("sender_signing_key")?, text("source")?);
    let mut forwarders = text("forwarder")?;
    let mut have_read = columns.flags("has_read", n)?.into_iter();
    let bytes = all.chunks_exact(EXPORTED_LENGTH);
    bytes
        .map(|bytes| {
            let source = needed(sources.next().flatten())?;
            let source = SOURCES.into_iter().find(|known| known.as_str() == source);
            Ok(SessionKey {
                room_id: needed(room_ids.next().flatten())?,
                session_id: needed(session_ids.next().flatten())?,
                sender: senders.next().flatten(),
                sender_key: sender_keys.next().flatten().unwrap_or_default(),
                sender_signing_key: signing_keys.next().flatten().unwrap_or_default(),
                source: source.ok_or_else(damaged)?,
                forwarder: forwarders.next().flatten(),
                has_read: have_read.next().unwrap_or_default(),
                key: Zeroizing::new(bytes.to_vec()),
            })
        })
        .collect()
}

/// Keys as columns; the keys themselves are one raw vector.
fn key_columns(keys: &[SessionKey]) -> Robj {
    fn said(text: &str) -> Option<&str> {
        (!text.is_empty()).then_some(text)
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(keys.len() * EXPORTED_LENGTH));
    keys.iter().for_each(|key| bytes.extend_from_slice(&key.key));
    let texts = |pick: fn(&SessionKey) -> Option<&str>| strings(keys.iter().map(pick));
    record([
        ("room_id", texts(|key| Some(&key.room_id))),
        ("session_id", texts(|key| Some(&key.session_id))),
        ("sender", texts(|key| key.sender.as_deref())),
        ("sender_key", texts(|key| said(&key.sender_key))),
        ("sender_signing_key", texts(|key| said(&key.sender_signing_key))),
        ("source", texts(|key| Some(key.source.as_str()))),
        ("forwarder", texts(|key| key.forwarder.as_deref())),
        ("has_read", keys.iter().map(|key| key.has_read).collect::<Vec<_>>().into()),
        ("key", raw(&bytes)),
    ])
}

/// Sessions by room and id; none is all.
fn sessions_of(sessions: &Robj) -> Result<Option<BTreeSet<(String, String)>>> {
    if sessions.is_null() {
        return Ok(None);
    }
    let columns = Columns::of(sessions, "sessions")?;
    let room_ids = arguments::texts(&columns.get("room_id"), "room_id")?;
    let session_ids = arguments::texts(&columns.get("session_id"), "session_id")?;
    Ok(Some(room_ids.into_iter().zip(session_ids).collect()))
}

#[extendr]
fn decryption_new(keys: Robj) -> Robj {
    answer(|| Ok(keep(Decryption::new(keys_of(&keys)?))))
}

/// Decrypts some more events, with at most `threads` threads; `NULL` for all that there may be.
#[extendr]
fn decryption_read(decryption: Robj, events: Robj, flat: Robj, threads: Robj) -> Robj {
    answer(|| {
        with(&decryption, |decryption: &mut Decryption| {
            let _limit = if threads.is_null() {
                None
            } else {
                let threads = usize::try_from(arguments::whole(&threads, "threads")?);
                Some(parallel::limited_to(threads.unwrap_or(1)))
            };
            let form = if arguments::flag(&flat, "flat")? { Form::Flat } else { Form::Nested };
            let read = decryption.read(&rows_of(&events)?);
            let handed: Vec<Handed> = read.into_iter().map(delivered).collect();
            Ok(frame_as(&handed, form))
        })
    })
}

/// An event with the trust that needs no list of devices: who made its session is not known here.
fn delivered(event: Event) -> Handed {
    let is_read = event.encrypted && event.unreadable.is_none();
    Handed {
        number: 0,
        event,
        trust: if is_read { Trust::UnknownDevice } else { Trust::None },
        is_self: false,
        replaces: None,
        edit_reason: None,
        edit: None,
        latest_in_thread: None,
    }
}

/// The rows that are edits, counted from one: what they replace, or why they do not.
#[extendr]
fn decryption_edits(decryption: Robj) -> Robj {
    answer(|| {
        with(&decryption, |decryption: &mut Decryption| {
            let edits = decryption.edits();
            let rows = edits.iter().map(|(row, _)| (*row + 1) as f64).collect::<Vec<f64>>();
            Ok(record([
                ("row", rows.into()),
                ("replaces", strings(edits.iter().map(|(_, judged)| judged.ok()))),
                ("edit_reason", strings(edits.iter().map(|(_, judged)| judged.err()))),
            ]))
        })
    })
}

/// The sessions that events are encrypted with, each once.
#[extendr]
fn events_sessions(events: Robj) -> Robj {
    answer(|| {
        let sessions: BTreeSet<(String, String)> =
            parallel::map(rows_of(&events)?, |row| row.session()).into_iter().flatten().collect();
        Ok(record([
            ("room_id", strings(sessions.iter().map(|(room_id, _)| Some(room_id.as_str())))),
            ("session_id", strings(sessions.iter().map(|(_, id)| Some(id.as_str())))),
        ]))
    })
}

/// Events as JSON texts, as the columns that they are decrypted from.
#[extendr]
fn events_of_json(texts: Robj) -> Robj {
    answer(|| {
        let texts = arguments::cells(&texts, "events", texts.len())?;
        let rows: Vec<Row> =
            parallel::map(texts, |text| text.as_deref().map(Row::read).unwrap_or_default());
        let text = |pick: fn(&Row) -> &Option<String>| {
            strings(rows.iter().map(|row| pick(row).as_deref()))
        };
        let times = rows.iter().map(|row| row.origin_server_ts.map(|time| time as f64));
        Ok(record([
            ("room_id", text(|row| &row.room_id)),
            ("event_id", text(|row| &row.event_id)),
            ("type", text(|row| &row.event_type)),
            ("sender", text(|row| &row.sender)),
            ("origin_server_ts", times.collect::<Vec<Option<f64>>>().into()),
            ("state_key", text(|row| &row.state_key)),
            ("content", text(|row| &row.content)),
            ("redacted", rows.iter().map(|row| row.redacted).collect::<Vec<bool>>().into()),
            ("redacts", text(|row| &row.redacts)),
        ]))
    })
}

/// The keys that the store has of these sessions, or of all.
#[extendr]
fn machine_session_keys(handle: Robj, sessions: Robj) -> Robj {
    on(&handle, |machine| {
        let keys = machine.session_keys(sessions_of(&sessions)?.as_ref())?;
        Ok(key_columns(&keys))
    })
}

/// Those of the next part of a key export, how many of them are refused, and how much of the file is read; `NULL` at
/// the end.
#[extendr]
fn key_import_sessions(import: Robj, sessions: Robj) -> Robj {
    answer(|| {
        let wanted = sessions_of(&sessions)?;
        with(&import, |KeyImport(file): &mut KeyImport| {
            let Some(judged) = file.next_sessions()? else { return Ok(().into()) };
            let (mut keys, mut refused, mut reason) = (Vec::new(), 0, None);
            for session in judged {
                let place = session.room_id.zip(session.session_id);
                let is_wanted = match (&wanted, place) {
                    (Some(wanted), Some(place)) => wanted.contains(&place),
                    // What does not say where it belongs may be wanted.
                    _ => true,
                };
                match session.verdict {
                    _ if !is_wanted => {}
                    Ok(session) => keys.push(SessionKey::from(session)),
                    Err(error) => {
                        refused += 1;
                        reason = Some(error.message);
                    }
                }
            }
            Ok(record([
                ("keys", key_columns(&keys)),
                ("refused", number(refused)),
                ("reason", string(reason.as_deref().unwrap_or_default())),
                ("progress", file.progress().into()),
            ]))
        })
    })
}

extendr_module! {
    mod archive_decryption;
    fn decryption_new;
    fn decryption_read;
    fn decryption_edits;
    fn events_sessions;
    fn events_of_json;
    fn machine_session_keys;
    fn key_import_sessions;
}
