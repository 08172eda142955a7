//! The archive of rooms, for R.

use std::collections::HashMap;

use extendr_api::prelude::*;
use mxcrypt_core::{
    Result,
    machine::{NotKept, Part},
    store::records::MediaFile,
};
use zeroize::Zeroizing;

use crate::{
    answer::{number, optional_string, record, string, strings},
    arguments,
    attachment::{key_of, without_address},
    clock::now,
    events,
    inbox::unsigned_of,
    machine::on,
};

/// `retention` in milliseconds, `NA` for ever; `largest_media` in bytes. `NULL` as it was.
#[extendr]
fn machine_archive(handle: Robj, room_id: Robj, retention: Robj, largest_media: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let retention = if retention.is_null() {
            None
        } else if retention.is_na() {
            Some(None)
        } else {
            Some(Some(arguments::whole(&retention, "retention")?))
        };
        let largest_media = if largest_media.is_null() {
            None
        } else {
            Some(bytes_in(arguments::whole(&largest_media, "media")?))
        };
        machine.archive(now(), &room_id, retention, largest_media)
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
            (
                "complete",
                rooms.iter().map(|status| status.room.complete).collect::<Vec<_>>().into(),
            ),
            ("retention", retention.collect::<Vec<Option<f64>>>().into()),
            ("events", rooms.iter().map(|status| status.events as f64).collect::<Vec<_>>().into()),
            ("unread", rooms.iter().map(|status| status.unread as f64).collect::<Vec<_>>().into()),
            ("files", rooms.iter().map(|status| status.files as f64).collect::<Vec<_>>().into()),
            (
                "files_missing",
                rooms.iter().map(|status| status.files_missing as f64).collect::<Vec<_>>().into(),
            ),
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
                    ("largest_media", number(room.largest_media as i64)),
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

/// `part` holds since and until when in milliseconds, the time and the number of the last event of the part
/// before, and how many events are wanted at most: `NA` for none.
#[extendr]
fn machine_archived_part(
    handle: Robj,
    room_id: Robj,
    part: Robj,
    unsigned: Robj,
    edits: Robj,
) -> Robj {
    on(&handle, |machine| {
        let part = part_of(&room_id, &part)?;
        let edits = arguments::flag(&edits, "edits")?;
        let read = machine.archived_part(now(), &part, unsigned_of(&unsigned)?, edits)?;
        let (time, place) = read.last.unzip();
        Ok(record([
            ("events", events::frame(&read.events)),
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
        Ok(events::frame(&machine.archived_events(now(), &room_id, &event_ids, unsigned)?))
    })
}

#[extendr]
fn machine_archived_texts(handle: Robj, room_id: Robj, part: Robj, unsigned: Robj) -> Robj {
    on(&handle, |machine| {
        let part = part_of(&room_id, &part)?;
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

/// The events whose files are wanted; `names` and `sizes` are those of the files that are there.
#[extendr]
fn machine_wanted_media(handle: Robj, room_id: Robj, names: Robj, sizes: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let sizes = arguments::wholes(&sizes, "sizes")?.into_iter().map(bytes_in);
        let present: HashMap<String, u64> =
            arguments::texts(&names, "names")?.into_iter().zip(sizes).collect();
        let event_ids = machine.wanted_media(&room_id, &present)?;
        Ok(strings(event_ids.iter().map(|id| Some(id.as_str()))))
    })
}

/// Where the file of an archived event is, and what opens it, `NULL` if nothing has to; `NULL` if there is none.
#[extendr]
fn machine_archived_attachment(handle: Robj, room_id: Robj, event_id: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_id = arguments::text(&event_id, "event_id")?;
        let found = machine.archived_attachment(&room_id, &event_id)?;
        Ok(found.map_or_else(
            || ().into(),
            |found| {
                let key = found.file.map(|file| Zeroizing::new(without_address(file.key)));
                record([
                    ("url", string(&found.url)),
                    ("key", optional_string(key.as_ref().map(|key| key.as_str()))),
                ])
            },
        ))
    })
}

/// Whether the file `name` is wanted; `key` is what opens it if its event does not say it.
#[extendr]
fn machine_keep_media(
    handle: Robj,
    room_id: Robj,
    event_id: Robj,
    name: Robj,
    size: Robj,
    key: Robj,
) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_id = arguments::text(&event_id, "event_id")?;
        let key = arguments::optional_text(&key, "key")?.map(Zeroizing::new);
        let file = MediaFile {
            name: arguments::text(&name, "name")?,
            size: bytes_in(arguments::whole(&size, "size")?),
            key: key.map(|key| key_of(&key)).transpose()?,
        };
        machine.keep_media(now(), &room_id, &event_id, file)
    })
}

/// `larger_than` in bytes; `NULL` if the server does not give the file.
#[extendr]
fn machine_refuse_media(handle: Robj, room_id: Robj, event_id: Robj, larger_than: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_id = arguments::text(&event_id, "event_id")?;
        let reason = optional_whole(&larger_than, "larger_than")?
            .map_or(NotKept::Missing, |size| NotKept::LargerThan(bytes_in(size)));
        machine.refuse_media(now(), &room_id, &event_id, reason)
    })
}

/// The file that is kept of what an event has at `url`, or `NULL`.
#[extendr]
fn machine_kept_media(handle: Robj, room_id: Robj, event_id: Robj, url: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_id = arguments::text(&event_id, "event_id")?;
        let kept = machine.kept_media(&room_id, &event_id, &arguments::text(&url, "url")?)?;
        Ok(kept.map_or_else(
            || ().into(),
            |file| {
                let key = file.key.map(|key| Zeroizing::new(without_address(key)));
                record([
                    ("name", string(&file.name)),
                    ("size", number(file.size as i64)),
                    ("key", optional_string(key.as_ref().map(|key| key.as_str()))),
                ])
            },
        ))
    })
}

/// The names of all files that are kept.
#[extendr]
fn machine_archived_files(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let names = machine.archived_files()?;
        Ok(strings(names.iter().map(|name| Some(name.as_str()))))
    })
}

fn bytes_in(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn part_of(room_id: &Robj, part: &Robj) -> Result<Part> {
    let numbers = part.as_real_slice().unwrap_or_default();
    let number = |i: usize| numbers.get(i).filter(|number| number.is_finite()).map(|n| *n as i64);
    Ok(Part {
        room_id: arguments::text(room_id, "room")?,
        since: number(0),
        until: number(1),
        after: number(2).zip(number(3)),
        limit: number(4).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
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
    fn machine_wanted_media;
    fn machine_archived_attachment;
    fn machine_keep_media;
    fn machine_refuse_media;
    fn machine_kept_media;
    fn machine_archived_files;
}
