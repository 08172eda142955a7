//! What is known of rooms, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    judgement::{direct_rooms, room_upgrade},
    store::records::{Membership, Room},
};

use crate::{
    answer::{answer, optional_string, record, string, strings},
    arguments,
    clock::now,
    machine::on,
};

#[extendr]
fn machine_rooms(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let rooms = machine.rooms()?;
        let column = |pick: fn(&Room) -> Option<&str>| strings(rooms.iter().map(pick));
        let flags = |pick: fn(&Room) -> bool| rooms.iter().map(pick).collect::<Vec<bool>>();
        Ok(record([
            ("room_id", column(|room| Some(&room.room_id))),
            ("name", column(|room| room.name.as_deref())),
            ("alias", column(|room| room.alias.as_deref())),
            ("membership", column(|room| Some(room.membership.as_str()))),
            ("encrypted", flags(|room| room.encryption.is_some()).into()),
            ("direct", flags(|room| room.direct).into()),
            ("inviter", column(|room| room.inviter.as_deref())),
            ("successor", column(|room| room.successor.as_deref())),
        ]))
    })
}

/// What is known of one room, or `NULL`.
#[extendr]
fn machine_known_room(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| {
        let room = machine.known_room(&arguments::text(&room_id, "room")?)?;
        Ok(room.map_or_else(
            || ().into(),
            |room| {
                record([
                    ("membership", string(room.membership.as_str())),
                    ("inviter", optional_string(room.inviter.as_deref())),
                    ("successor", optional_string(room.successor.as_deref())),
                    ("upgraded_by", optional_string(room.upgraded_by.as_deref())),
                ])
            },
        ))
    })
}

/// The tombstone in the state of a room, and whether it counts; `NULL` where there is none.
#[extendr]
fn room_upgrade_read(body: Robj) -> Robj {
    answer(|| {
        let upgrade = room_upgrade::upgrade(&arguments::body(&body, "body")?)?;
        Ok(upgrade.map_or_else(
            || ().into(),
            |upgrade| {
                record([
                    ("successor", optional_string(upgrade.successor.as_deref())),
                    ("sender", string(&upgrade.sender)),
                    ("allowed", upgrade.allowed.into()),
                ])
            },
        ))
    })
}

/// The room that a room says it replaces, or `NULL`.
#[extendr]
fn room_predecessor_read(body: Robj) -> Robj {
    answer(|| {
        let room_id = room_upgrade::predecessor(&arguments::body(&body, "body")?)?;
        Ok(optional_string(room_id.as_deref()))
    })
}

#[extendr]
fn machine_note_encryption(handle: Robj, room_id: Robj, content: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        machine.note_encryption(now(), &room_id, &arguments::text(&content, "content")?)
    })
}

#[extendr]
fn machine_note_members_changed(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| machine.note_members_changed(now(), &arguments::text(&room_id, "room")?))
}

#[extendr]
fn machine_note_own_membership(handle: Robj, room_id: Robj, membership: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let membership = Membership::parse(&arguments::text(&membership, "membership")?);
        machine.note_own_membership(now(), &room_id, membership)
    })
}

/// Lets the next message of a room begin a new session.
#[extendr]
fn machine_rotate_room_key(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| machine.rotate_room_key(now(), &arguments::text(&room_id, "room")?))
}

/// The direct rooms in the account data `m.direct`.
#[extendr]
fn direct_rooms_read(body: Robj) -> Robj {
    answer(|| {
        let rooms = direct_rooms::read(&arguments::body(&body, "body")?)?;
        let column =
            |pick: fn(&(String, String)) -> &str| strings(rooms.iter().map(|row| Some(pick(row))));
        Ok(record([("user_id", column(|row| &row.0)), ("room_id", column(|row| &row.1))]))
    })
}

/// The same with a room added, or `NULL` where it is there already.
#[extendr]
fn direct_rooms_add(body: Robj, user_ids: Robj, room_id: Robj) -> Robj {
    answer(|| {
        let body = arguments::body(&body, "body")?;
        let user_ids = arguments::texts(&user_ids, "user_ids")?;
        let room_id = arguments::text(&room_id, "room")?;
        let added = direct_rooms::with_room(&body, &user_ids, &room_id)?;
        Ok(optional_string(added.as_deref()))
    })
}

extendr_module! {
    mod rooms;
    fn direct_rooms_read;
    fn direct_rooms_add;
    fn machine_known_room;
    fn room_predecessor_read;
    fn room_upgrade_read;
    fn machine_rotate_room_key;
    fn machine_rooms;
    fn machine_note_encryption;
    fn machine_note_members_changed;
    fn machine_note_own_membership;
}
