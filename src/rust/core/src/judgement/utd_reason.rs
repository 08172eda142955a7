//! Why an event cannot be read ("unable to decrypt", UTD): the one place that says of each reason which
//! code programs know it by, what people are told, and whether a key can still help.
//!
//! Codes are stored, and R shows them in `utd_reason`: they never change. `?mx_events` lists them.

use crate::store::records::{Event, Unreadable};

/// Why an event cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UtdReason {
    /// No key has come.
    UnknownSession,
    /// The key that came reads later messages only.
    UnknownIndex,
    /// It was sent before our user joined.
    BeforeJoin,
    /// It was sent before this device was signed in.
    BeforeDevice,
    /// It was sent before this device was signed in, and there is no key backup.
    NoBackup,
    /// It was sent before this device was signed in, and the key of the key backup is not here.
    BackupLocked,
    /// The key backup is searched for its key.
    BackupPending,
    /// What the key backup has in place of its key cannot be used.
    BackupMalformed,
    /// The sender gives keys to verified devices only.
    WithheldUnverified,
    /// The sender has blocked this device.
    WithheldBlacklisted,
    /// The sender says that our user may not read it.
    WithheldUnauthorised,
    /// A device that was asked for the key does not have it.
    WithheldUnavailable,
    /// It is older than what a member may share with us.
    WithheldHistoryNotShared,
    /// The sender gives no key and names another reason.
    WithheldOther,
    /// The key belongs to another user than the server names as the sender.
    SenderMismatch,
    /// The key does not read it, and did not come from its sender.
    WrongKey,
    /// The ciphertext was received as another event.
    Replayed,
    /// It was encrypted for another room.
    RoomMismatch,
    /// It cannot be decrypted with the sender's own key.
    BadMessage,
    /// It is no event, or no Megolm message.
    MalformedEvent,
    /// What was encrypted is no event.
    PayloadNotJson,
    /// It is state, which is never encrypted.
    StateEvent,
    /// Its algorithm is unknown.
    UnknownAlgorithm,
    /// The server left events out.
    Gap,
    /// A consumer came too late for the events that were kept.
    InboxOverflow,
    /// The sender did not sign the device, and the isolation mode holds such events back.
    UnsignedSender,
}

/// Whether a key that comes later can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// No key can.
    Useless,
    /// It may come, and nobody is asked for it: other devices would not give it.
    Awaited,
    /// Our other devices are asked for it.
    Requested,
}

struct Facts {
    code: &'static str,
    key: Key,
    sentence: &'static str,
    help: &'static str,
}

const KEEP_SYNCING: &str =
    "Keep syncing: the key may still come from its sender, or another device of yours.";
const VERIFY_THIS_DEVICE: &str = "Another device of yours may have the key: verify this one there.";
const SAY_IT_AGAIN: &str = "Ask the sender to say it again.";
const DO_NOT_TRUST: &str =
    "Do not trust it: the server, or somebody on the way, has changed something.";
const NOTHING: &str = "Nothing: its sender's program made something that cannot be read.";
const READ_HISTORY: &str = "Read the history with mx_messages().";
const NEWER_VERSION: &str = "Update mxcrypt: a newer version stored this reason.";

impl UtdReason {
    const ALL: [Self; 26] = [
        Self::UnknownSession,
        Self::UnknownIndex,
        Self::BeforeJoin,
        Self::BeforeDevice,
        Self::NoBackup,
        Self::BackupLocked,
        Self::BackupPending,
        Self::BackupMalformed,
        Self::WithheldUnverified,
        Self::WithheldBlacklisted,
        Self::WithheldUnauthorised,
        Self::WithheldUnavailable,
        Self::WithheldHistoryNotShared,
        Self::WithheldOther,
        Self::SenderMismatch,
        Self::WrongKey,
        Self::Replayed,
        Self::RoomMismatch,
        Self::BadMessage,
        Self::MalformedEvent,
        Self::PayloadNotJson,
        Self::StateEvent,
        Self::UnknownAlgorithm,
        Self::Gap,
        Self::InboxOverflow,
        Self::UnsignedSender,
    ];

    /// The reason with this code; none for a code of a newer version, which may have written to the
    /// store.
    pub fn of_code(code: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|reason| reason.code() == code);
        known.or_else(|| code.starts_with("withheld_").then_some(Self::WithheldOther))
    }

    /// Why `event` cannot be read; none if it can, or if a newer version gave the reason.
    pub fn of(event: &Event) -> Option<Self> {
        Self::of_code(&event.unreadable.as_ref()?.code)
    }

    /// The reason for a session whose key was withheld with `code`, one of the specification.
    pub fn of_withheld(code: &str) -> Self {
        match code {
            "m.unverified" => Self::WithheldUnverified,
            "m.blacklisted" => Self::WithheldBlacklisted,
            "m.unauthorised" => Self::WithheldUnauthorised,
            "m.unavailable" => Self::WithheldUnavailable,
            "m.history_not_shared" => Self::WithheldHistoryNotShared,
            _ => Self::WithheldOther,
        }
    }

    /// The code, for programs.
    pub const fn code(self) -> &'static str {
        self.facts().code
    }

    /// What people are told, where nothing more is known than the reason.
    pub const fn sentence(self) -> &'static str {
        self.facts().sentence
    }

    /// What would help.
    pub const fn help(self) -> &'static str {
        self.facts().help
    }

    /// What would help against the reason with this code.
    pub fn help_of_code(code: &str) -> &'static str {
        Self::of_code(code).map_or(NEWER_VERSION, Self::help)
    }

    /// Whether a key that comes later can make the event readable. A user who was given a key can hand
    /// it on in their own name before its sender does, or hand on another one.
    pub const fn waits_for_key(self) -> bool {
        !matches!(self.facts().key, Key::Useless)
    }

    /// Whether our other devices are asked for the key.
    pub const fn asks_for_key(self) -> bool {
        matches!(self.facts().key, Key::Requested)
    }

    /// The reason as it is stored, with its sentence.
    pub fn unreadable(self) -> Unreadable {
        self.because(self.sentence())
    }

    /// The reason as it is stored, with a sentence that says more.
    pub fn because(self, sentence: impl Into<String>) -> Unreadable {
        Unreadable { code: self.code().to_owned(), message: sentence.into() }
    }

    const fn facts(self) -> Facts {
        match self {
            Self::UnknownSession => Facts {
                code: "unknown_session",
                key: Key::Requested,
                sentence: "Its key has not come yet.",
                help: KEEP_SYNCING,
            },
            Self::UnknownIndex => Facts {
                code: "unknown_index",
                key: Key::Requested,
                sentence: "It was sent before the key that came allows reading.",
                help: KEEP_SYNCING,
            },
            Self::BeforeJoin => Facts {
                code: "before_join",
                key: Key::Awaited,
                sentence: "It was sent before you were in the room.",
                help: "Ask a member to say it again: keys of what was said before are not given.",
            },
            Self::BeforeDevice => Facts {
                code: "before_device",
                key: Key::Requested,
                sentence: "It was sent before this device was signed in.",
                help: VERIFY_THIS_DEVICE,
            },
            // The next four take the place of a reason when an event is delivered. The stored one says
            // that it waits.
            Self::NoBackup => Facts {
                code: "no_backup",
                key: Key::Useless,
                sentence: "It was sent before this device was signed in, and there is no key backup.",
                help: VERIFY_THIS_DEVICE,
            },
            Self::BackupLocked => Facts {
                code: "backup_locked",
                key: Key::Useless,
                sentence: "It was sent before this device was signed in, and the key of the key \
                           backup is not here.",
                help: "Run mx_crypto_setup() with the recovery key.",
            },
            Self::BackupPending => Facts {
                code: "backup_pending",
                key: Key::Useless,
                sentence: "Its key is being looked for in the key backup.",
                help: "Call again: it comes as soon as the server has answered.",
            },
            Self::BackupMalformed => Facts {
                code: "backup_malformed",
                key: Key::Useless,
                sentence: "The key backup has its key, which cannot be used.",
                help: "Another device of yours may have the key: verify this one there. Run \
                       mx_backup_upload() on a device that reads it.",
            },
            Self::WithheldUnverified => Facts {
                code: "withheld_unverified",
                key: Key::Requested,
                sentence: "The sender gives keys to verified devices only, and this one is not.",
                help: "Run mx_crypto_setup(), so that others can trust this device.",
            },
            Self::WithheldBlacklisted => Facts {
                code: "withheld_blacklisted",
                key: Key::Requested,
                sentence: "The sender has blocked this device.",
                help: "Ask the sender to unblock this device.",
            },
            Self::WithheldUnauthorised => Facts {
                code: "withheld_unauthorised",
                key: Key::Requested,
                sentence: "The sender says it is not for us.",
                help: SAY_IT_AGAIN,
            },
            Self::WithheldUnavailable => Facts {
                code: "withheld_unavailable",
                key: Key::Requested,
                sentence: "The device that was asked has no such key.",
                help: SAY_IT_AGAIN,
            },
            Self::WithheldHistoryNotShared => Facts {
                code: "withheld_history_not_shared",
                key: Key::Requested,
                sentence: "It is older than what may be shared with us.",
                help: SAY_IT_AGAIN,
            },
            Self::WithheldOther => Facts {
                code: "withheld_other",
                key: Key::Requested,
                sentence: "The sender gives us no key, for a reason of their own.",
                help: SAY_IT_AGAIN,
            },
            Self::SenderMismatch => Facts {
                code: "sender_mismatch",
                key: Key::Requested,
                sentence: "Its session belongs to another user than the server says sent it.",
                help: DO_NOT_TRUST,
            },
            Self::WrongKey => Facts {
                code: "wrong_key",
                key: Key::Requested,
                sentence: "The key that came does not read it, and did not come from its sender.",
                help: KEEP_SYNCING,
            },
            Self::Replayed => Facts {
                code: "replayed",
                key: Key::Useless,
                sentence: "Its ciphertext was already seen in another event: the server repeats it.",
                help: DO_NOT_TRUST,
            },
            Self::RoomMismatch => Facts {
                code: "room_mismatch",
                key: Key::Useless,
                sentence: "It was written for another room.",
                help: DO_NOT_TRUST,
            },
            Self::BadMessage => Facts {
                code: "bad_message",
                key: Key::Useless,
                sentence: "It was altered, or is not of its session.",
                help: DO_NOT_TRUST,
            },
            Self::MalformedEvent => Facts {
                code: "malformed_event",
                key: Key::Useless,
                sentence: "It is not an event as the specification describes it.",
                help: NOTHING,
            },
            Self::PayloadNotJson => Facts {
                code: "payload_not_json",
                key: Key::Useless,
                sentence: "What was inside is not an event in JSON.",
                help: NOTHING,
            },
            Self::StateEvent => Facts {
                code: "state_event",
                key: Key::Useless,
                sentence: "State of a room is never encrypted.",
                help: NOTHING,
            },
            Self::UnknownAlgorithm => Facts {
                code: "unknown_algorithm",
                key: Key::Useless,
                sentence: "It is encrypted with an algorithm that is not known here.",
                help: NOTHING,
            },
            Self::Gap => Facts {
                code: "gap",
                key: Key::Useless,
                sentence: "Events are missing here and cannot be fetched.",
                help: READ_HISTORY,
            },
            Self::InboxOverflow => Facts {
                code: "inbox_overflow",
                key: Key::Useless,
                sentence: "Events were kept too long for this consumer and are gone.",
                help: READ_HISTORY,
            },
            Self::UnsignedSender => Facts {
                code: "unsigned_sender",
                key: Key::Useless,
                sentence: "The sender's device is not signed by an owner who is trusted.",
                help: "Ask the sender to verify the device. mx_messages(unsigned = TRUE) reads it \
                       anyway.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn each_reason_has_a_code_of_its_own_and_words() {
        let codes: BTreeSet<&str> = UtdReason::ALL.into_iter().map(UtdReason::code).collect();
        assert_eq!(codes.len(), UtdReason::ALL.len());
        for (place, reason) in UtdReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "all are in the list, in their order");
            let stored = reason.unreadable();
            assert_eq!(UtdReason::of_code(&stored.code), Some(reason));
            for text in [&stored.message, reason.help()] {
                assert!(text.ends_with('.') && text.len() > 20, "{reason:?}: {text}");
            }
        }
    }

    /// One of ours in place of it would have the event wait for a key, or never.
    #[test]
    fn a_code_of_a_newer_version_is_none_of_ours() {
        assert_eq!(UtdReason::of_code("of_the_future"), None);
        assert_eq!(UtdReason::help_of_code("of_the_future"), NEWER_VERSION);
        assert_eq!(UtdReason::of_code("withheld_newly"), Some(UtdReason::WithheldOther));
        let mut event = Event::default();
        assert_eq!(UtdReason::of(&event), None);
        event.unreadable =
            Some(Unreadable { code: "of_the_future".into(), ..UtdReason::Gap.unreadable() });
        assert_eq!(UtdReason::of(&event), None);
    }

    #[test]
    fn who_asks_for_a_key_waits_for_it() {
        for reason in UtdReason::ALL {
            assert!(reason.waits_for_key() || !reason.asks_for_key(), "{reason:?}");
        }
        let awaited = UtdReason::ALL.into_iter().filter(|reason| reason.waits_for_key());
        let mut unasked = awaited.filter(|reason| !reason.asks_for_key());
        assert_eq!((unasked.next(), unasked.next()), (Some(UtdReason::BeforeJoin), None));
    }

    /// The codes in a part of a help page: what stands between backticks and is no call.
    fn codes_on_page(file: &str, from: &str, to: &str) -> Option<BTreeSet<String>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        // Without the rest of the package beside it there is no page to look at.
        let page = fs::read_to_string(root.join("R").join(file)).ok()?;
        let part = page.split_once(from).unwrap().1.split_once(to).unwrap().0;
        let is_code = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        Some(part.split('`').skip(1).step_by(2).filter(is_code).map(str::to_owned).collect())
    }

    #[test]
    fn the_help_pages_list_the_codes() {
        let all: BTreeSet<String> =
            UtdReason::ALL.into_iter().map(|reason| reason.code().to_owned()).collect();
        let section = "@section Why an event cannot be read:";
        if let Some(listed) = codes_on_page("events.R", section, "@name") {
            assert_eq!(listed, all);
        }
        if let Some(mut listed) =
            codes_on_page("undecrypted.R", "is the current reason:", "`utd_message`")
        {
            // Only what waits is listed by that function, and no mode holds it back.
            assert!(listed.insert("unsigned_sender".to_owned()));
            assert_eq!(listed, all);
        }
    }
}
