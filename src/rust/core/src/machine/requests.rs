//! The requests to perform now: which topics have some, and in which order.
//!
//! What somebody waits for comes before side work, and what others wait for before what depends on it.

use super::{
    Awaited, Machine, Millis, Requests, backup_restore, backup_upload, backup_version,
    device_lists, gaps, heartbeats, key_bundles, key_requests, key_upload, olm_repair, outbox,
    owed_keys, pump::Pump, received_requests, refusals, secret_sharing, send_to_devices,
    send_to_room, verification,
};
use crate::error::Result;

impl Machine {
    /// The requests to perform now. None when there is nothing to do, or nothing that another
    /// process is not doing.
    ///
    /// # Errors
    /// [`Kind::OwnKeys`] when the server holds other keys under this device's name: nothing sent
    /// from here could be relied on.
    pub fn requests(&mut self, now: Millis) -> Result<Requests> {
        self.requests_for(now, &Awaited::default())
    }

    /// The same for a caller who waits for something: that comes first.
    ///
    /// # Errors
    /// As [`Machine::requests`].
    pub fn requests_for(&mut self, now: Millis, awaited: &Awaited) -> Result<Requests> {
        self.work(now, |work| {
            if let Some(conflict) = device_lists::own_keys_conflict(work)? {
                return Err(conflict);
            }
            let mut pump = Pump::new(work, awaited)?;
            pump.out.busy = !pump.busy.is_empty();
            pump.out.under_way = pump.busy.iter().any(|ask| awaited.names(ask));
            if !pump.is_published {
                key_upload::request(&mut pump)?;
            }
            verification::pursue_verifications(&mut pump)?;
            heartbeats::expire(pump.work)?;
            heartbeats::request(&mut pump)?;
            send_to_rooms(&mut pump)?;
            device_lists::request_awaited(&mut pump)?;
            key_upload::request(&mut pump)?;
            olm_repair::repair_olm_sessions(&mut pump)?;
            owed_keys::give_owed_keys(&mut pump)?;
            received_requests::answer_key_requests(&mut pump)?;
            key_requests::ask_for_keys(&mut pump)?;
            secret_sharing::answer_secret_requests(&mut pump)?;
            secret_sharing::ask_for_secrets(&mut pump)?;
            backup_restore::request_keys(&mut pump)?;
            key_bundles::share_key_bundles(&mut pump)?;
            key_bundles::fetch_key_bundles(&mut pump)?;
            send_to_devices::send_to_devices(&mut pump)?;
            device_lists::request(&mut pump)?;
            gaps::request(&mut pump)?;
            backup_upload::back_up_keys(&mut pump)?;
            backup_version::look_at_backup(&mut pump)?;
            refusals::tell_refusals(pump.work)?;
            Ok(pump.out)
        })
    }

    /// How many requests have failed so far: see [`Awaited::since`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn failures(&mut self) -> Result<i64> {
        self.read(|work| work.tx.last_number("failure"))
    }
}

/// The room that a caller waits for comes first.
fn send_to_rooms(pump: &mut Pump<'_, '_>) -> Result<()> {
    let mut rooms: Vec<String> = outbox::rooms_to_send_to(pump.work)?.into_iter().collect();
    rooms.sort_by_key(|room_id| pump.awaited.room_id.as_ref() != Some(room_id));
    for room_id in rooms {
        if !pump.is_full() {
            send_to_room::send_to_room(pump, &room_id)?;
        }
    }
    Ok(())
}
