//! Why an event cannot be read: codes for programs, and what would help.

/// The type of the event.
pub const WITHHELD: &str = "m.room_key.withheld";

/// The code of whoever could open no Olm session with us.
pub const NO_OLM: &str = "m.no_olm";

/// The reasons that a key which comes later can remove. A user who was given a key can hand it on in
/// their own name before its sender does, or hand on another one.
pub fn waits_for_key(code: &str) -> bool {
    let waits = [
        "unknown_session",
        "unknown_index",
        "before_join",
        "before_device",
        "sender_mismatch",
        "wrong_key",
    ];
    waits.contains(&code) || code.starts_with("withheld_")
}

/// The reason for a session whose key was withheld with `code`.
pub fn withheld(code: &str) -> (&'static str, &'static str) {
    match code {
        "m.unverified" => (
            "withheld_unverified",
            "The sender gives keys to verified devices only, and this one is not.",
        ),
        "m.blacklisted" => ("withheld_blacklisted", "The sender has blocked this device."),
        "m.unauthorised" => ("withheld_unauthorised", "The sender says it is not for us."),
        "m.unavailable" => ("withheld_unavailable", "The device that was asked has no such key."),
        "m.history_not_shared" => {
            ("withheld_history_not_shared", "It is older than what may be shared with us.")
        }
        _ => ("withheld_other", "The sender gives us no key, for a reason of their own."),
    }
}

/// What would help against a reason.
pub fn help(code: &str) -> &'static str {
    match code {
        "unknown_session" | "unknown_index" | "wrong_key" => {
            "Keep syncing: the key may still come from its sender, or another device of yours."
        }
        "before_join" => {
            "Ask a member to say it again: keys of what was said before are not given."
        }
        "no_backup" | "before_device" => {
            "Another device of yours may have the key: verify this one there."
        }
        "backup_locked" => "Run mx_crypto_setup() with the recovery key.",
        "backup_malformed" => {
            "Another device of yours may have the key: verify this one there. Run mx_backup_upload() \
             on a device that reads it."
        }
        "backup_pending" => "Call again: it comes as soon as the server has answered.",
        "withheld_unverified" => "Run mx_crypto_setup(), so that others can trust this device.",
        "withheld_blacklisted" => "Ask the sender to unblock this device.",
        "unsigned_sender" => {
            "Ask the sender to verify the device. mx_messages(unsigned = TRUE) reads it anyway."
        }
        "sender_mismatch" | "replayed" | "room_mismatch" | "bad_message" => {
            "Do not trust it: the server, or somebody on the way, has changed something."
        }
        "inbox_overflow" | "gap" => "Read the history with mx_messages().",
        code if code.starts_with("withheld_") => "Ask the sender to say it again.",
        _ => "Nothing: its sender's program made something that cannot be read.",
    }
}
