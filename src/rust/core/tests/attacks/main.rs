//! What a hostile server, or a hostile user, does to an honest device: one test a rule or attack.
//! tests/README.md lists which rule is proven where. Each of these fails when its guard is gone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

mod archive;
mod backup_planted_keys;
mod backup_restore;
mod backup_scenery;
mod backup_upload;
mod bounds;
mod cleartext;
mod copies;
mod crowds;
#[path = "../simulation/database.rs"]
#[allow(dead_code)]
mod database;
mod dehydrated_devices;
mod devices;
mod event_size;
mod floods;
mod forwarded_keys;
mod gaps;
mod handed_on;
mod healing;
mod heartbeats;
mod identities;
mod key_backup;
mod key_bundles;
mod key_export;
mod key_requests;
mod listeners;
mod liveness;
mod messages;
mod olm_sessions;
mod owed_keys;
mod pair;
mod qr_codes;
mod reasons;
mod relations;
mod repeated_events;
mod rooms;
mod rotation;
mod scene;
mod secrets;
mod side_requests;
mod timelines;
mod to_device;
mod unreadable;
mod uploads;
mod verification;
