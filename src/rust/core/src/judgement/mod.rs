//! What the server says, judged over its own text.
//!
//! Every byte of a response may be chosen by an adversary. These functions read it once, refuse
//! what does not hold, and return typed verdicts. One bad device, key or event never spoils the
//! others.

pub mod archive_decryption;
pub mod attachment;
pub mod authentication;
pub mod backup_answer;
pub mod cross_signing;
pub mod dehydrated_device;
pub mod delayed_events;
pub mod device_keys;
pub mod direct_rooms;
pub mod encrypted_file;
pub mod error_response;
pub mod exported_session;
pub mod identifier;
pub mod invitation;
pub mod key_backup;
pub mod key_bundle;
pub mod key_export;
pub mod key_upload;
pub mod keys_claim;
pub mod keys_query;
pub mod members;
pub mod messages_page;
pub mod olm_payload;
pub mod one_time_key;
pub mod relation;
pub mod room_event;
pub mod room_state;
pub mod room_upgrade;
pub mod secret_storage;
pub mod send_response;
pub mod sync_response;
pub mod to_device_event;
pub mod trust;
pub mod unique_map;
pub mod utd_reason;
pub mod verification;
pub mod withheld;
