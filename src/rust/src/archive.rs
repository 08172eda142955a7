//! The archive of rooms, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{Result, machine::Part};

use crate::{
    answer::{number, optional_string, record, strings},
    arguments,
    clock::now,
    events,
    inbox::unsigned_of,
    machine::on,
};

/// `retention` in milliseconds; `NA` for ever, `NULL` as it was.
#[extendr]
fn machine_archive(handle: Robj, room_id: Robj, retention: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let retention = if retention.is_null() {
            None
        } else if retention.is_na() {
            Some(None)
        } else {
            Some(Some(arguments::whole(&retention, "retention")?))
        };
        machine.archive(now(), &room_id, retention)
    })
}

#[extendr]
fn machine_archived_ids(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let ids = machine.archived_room_ids()?;
        Ok(strings(ids.iter().map(|id| Some(id.as_str()))))
    })
}

#[extendr]
fn machine_archived_rooms(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let rooms = machine.archived_rooms()?;
        let retention = rooms.iter().map(|status| status.room.retention.map(|time| time as f64));
        Ok(record([
            ("room_id", strings(rooms.iter().map(|status| Some(status.room.room_id.as_str())))),
            ("next", strings(rooms.iter().map(|status| status.room.next.as_deref()))),
            (
                "complete",
                rooms.iter().map(|status| status.room.complete).collect::<Vec<_>>().into(),
            ),
            ("retention", retention.collect::<Vec<Option<f64>>>().into()),
            ("events", rooms.iter().map(|status| status.events as f64).collect::<Vec<_>>().into()),
            ("unread", rooms.iter().map(|status| status.unread as f64).collect::<Vec<_>>().into()),
        ]))
    })
}

#[extendr]
fn machine_forget_archive(handle: Robj, room_id: Robj, before: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let before = optional_whole(&before, "before")?;
        Ok(number(machine.forget_archive(now(), &room_id, before)? as i64))
    })
}

/// `NULL` if the room is not archived.
#[extendr]
fn machine_archived_room(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| {
        let room = machine.archived_room(&arguments::text(&room_id, "room")?)?;
        Ok(room.map_or_else(
            || ().into(),
            |room| {
                record([
                    ("next", optional_string(room.next.as_deref())),
                    ("complete", room.complete.into()),
                ])
            },
        ))
    })
}

/// How many events of the page cannot be read, and how many are none; `NULL` if it is not wanted any more.
#[extendr]
fn machine_archive_page(handle: Robj, room_id: Robj, from: Robj, body: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let from = arguments::optional_text(&from, "from")?;
        let body = arguments::body(&body, "body")?;
        let kept = machine.archive_page(now(), &room_id, from.as_deref(), &body)?;
        Ok(kept.map_or_else(
            || ().into(),
            |kept| {
                record([
                    ("unread", number(kept.unread as i64)),
                    ("malformed", number(kept.malformed as i64)),
                ])
            },
        ))
    })
}

#[extendr]
fn machine_search_archived_keys(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        Ok(number(machine.search_archived_keys(now(), &room_id)? as i64))
    })
}

/// Times in milliseconds, `NULL` for all; `after_time` and `after_number` are the place of the last event before.
#[extendr]
fn machine_archived_part(
    handle: Robj,
    room_id: Robj,
    since: Robj,
    until: Robj,
    after_time: Robj,
    after_number: Robj,
    limit: Robj,
    unsigned: Robj,
    edits: Robj,
) -> Robj {
    on(&handle, |machine| {
        let part = part_of(&room_id, [&since, &until, &after_time, &after_number], &limit)?;
        let edits = arguments::flag(&edits, "edits")?;
        let read = machine.archived_part(now(), &part, unsigned_of(&unsigned)?, edits)?;
        let (time, place) = read.last.unzip();
        Ok(record([
            ("events", events::columns(&read.events)),
            ("after_time", optional_number(time)),
            ("after_number", optional_number(place)),
        ]))
    })
}

#[extendr]
fn machine_archived_events(handle: Robj, room_id: Robj, event_ids: Robj, unsigned: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_ids = arguments::texts(&event_ids, "event_id")?;
        let unsigned = unsigned_of(&unsigned)?;
        Ok(events::columns(&machine.archived_events(now(), &room_id, &event_ids, unsigned)?))
    })
}

#[extendr]
fn machine_archived_texts(
    handle: Robj,
    room_id: Robj,
    since: Robj,
    until: Robj,
    after_time: Robj,
    after_number: Robj,
    limit: Robj,
    unsigned: Robj,
) -> Robj {
    on(&handle, |machine| {
        let part = part_of(&room_id, [&since, &until, &after_time, &after_number], &limit)?;
        let texts = machine.archived_texts(now(), &part, unsigned_of(&unsigned)?)?;
        let last = texts.last().filter(|_| texts.len() >= part.limit);
        let (time, place) = last.map(|text| text.place).unzip();
        Ok(record([
            ("event_id", strings(texts.iter().map(|text| Some(text.event_id.as_str())))),
            ("sent_at", texts.iter().map(|text| text.place.0 as f64).collect::<Vec<_>>().into()),
            ("sender", strings(texts.iter().map(|text| Some(text.sender.as_str())))),
            ("body", strings(texts.iter().map(|text| text.body.as_deref()))),
            ("after_time", optional_number(time)),
            ("after_number", optional_number(place)),
        ]))
    })
}

fn part_of(room_id: &Robj, numbers: [&Robj; 4], limit: &Robj) -> Result<Part> {
    let [since, until, after_time, after_number] = numbers;
    let after = optional_whole(after_time, "after")?.zip(optional_whole(after_number, "after")?);
    Ok(Part {
        room_id: arguments::text(room_id, "room")?,
        since: optional_whole(since, "since")?,
        until: optional_whole(until, "until")?,
        after,
        limit: usize::try_from(arguments::whole(limit, "limit")?).unwrap_or(0),
    })
}

fn optional_whole(value: &Robj, name: &str) -> Result<Option<i64>> {
    if value.is_null() { Ok(None) } else { arguments::whole(value, name).map(Some) }
}

fn optional_number(value: Option<i64>) -> Robj {
    value.map_or_else(|| ().into(), number)
}

extendr_module! {
    mod archive;
    fn machine_archive;
    fn machine_archived_room;
    fn machine_archived_ids;
    fn machine_archived_rooms;
    fn machine_forget_archive;
    fn machine_archive_page;
    fn machine_search_archived_keys;
    fn machine_archived_part;
    fn machine_archived_events;
    fn machine_archived_texts;
}
