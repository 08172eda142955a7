//! What is known of rooms, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{store::records::Membership, store::records::Room};

use crate::{
    answer::{record, strings},
    arguments,
    machine::on,
};

#[extendr]
fn machine_rooms(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let rooms = machine.rooms()?;
        let column = |pick: fn(&Room) -> Option<&str>| strings(rooms.iter().map(pick));
        let encrypted: Vec<bool> = rooms.iter().map(|room| room.encryption.is_some()).collect();
        Ok(record([
            ("room_id", column(|room| Some(&room.room_id))),
            ("name", column(|room| room.name.as_deref())),
            ("alias", column(|room| room.alias.as_deref())),
            ("membership", column(|room| Some(room.membership.as_str()))),
            ("encrypted", encrypted.into()),
            ("inviter", column(|room| room.inviter.as_deref())),
        ]))
    })
}

#[extendr]
fn machine_note_encryption(handle: Robj, room_id: Robj, content: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        machine.note_encryption(&room_id, &arguments::text(&content, "content")?)
    })
}

#[extendr]
fn machine_note_members_changed(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| machine.note_members_changed(&arguments::text(&room_id, "room")?))
}

#[extendr]
fn machine_note_own_membership(handle: Robj, room_id: Robj, membership: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let membership = Membership::parse(&arguments::text(&membership, "membership")?);
        machine.note_own_membership(&room_id, membership)
    })
}

/// Lets the next message of a room begin a new session.
#[extendr]
fn machine_rotate_room_key(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| machine.rotate_room_key(&arguments::text(&room_id, "room")?))
}

extendr_module! {
    mod rooms;
    fn machine_rotate_room_key;
    fn machine_rooms;
    fn machine_note_encryption;
    fn machine_note_members_changed;
    fn machine_note_own_membership;
}
