//! How far a message can be trusted: one pure function from facts to one ordered level.

use crate::store::records::Device;

/// Levels of trust, lowest first, so that a policy is a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// It came unencrypted, or cannot be read: nothing vouches for it.
    None,
    /// The key of its device changed, or contradicts what the device claims.
    KeyChanged,
    /// The device that made its session is not known.
    UnknownDevice,
    /// The device is known, and its owner has not signed it with a cross-signing key that we
    /// checked.
    Unsigned,
}

impl Trust {
    /// All levels, lowest first.
    pub const LEVELS: [Trust; 4] =
        [Trust::None, Trust::KeyChanged, Trust::UnknownDevice, Trust::Unsigned];

    /// The name of the level.
    pub const fn as_str(self) -> &'static str {
        match self {
            Trust::None => "none",
            Trust::KeyChanged => "key_changed",
            Trust::UnknownDevice => "unknown_device",
            Trust::Unsigned => "unsigned",
        }
    }
}

/// What is known of the session a message came with.
#[derive(Debug, Clone, Copy)]
pub struct MessageFacts<'a> {
    /// The Ed25519 key the sending device claimed when it gave us the session.
    pub claimed_signing_key: Option<&'a str>,
    /// The device of the sender that owns the session's Curve25519 key, if one is known.
    pub device: Option<&'a Device>,
}

/// The trust in a message that was decrypted.
pub fn of_message(facts: MessageFacts<'_>) -> Trust {
    let Some(device) = facts.device else { return Trust::UnknownDevice };
    // A device that copied another's Curve25519 key cannot also claim its Ed25519 key.
    if device.key_changed || facts.claimed_signing_key != Some(device.signing_key.as_str()) {
        return Trust::KeyChanged;
    }
    Trust::Unsigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(key_changed: bool) -> Device {
        Device {
            user_id: "@a:b".into(),
            device_id: "A".into(),
            identity_key: "curve".into(),
            signing_key: "ed".into(),
            display_name: None,
            device_keys: String::new(),
            first_seen_at: 0,
            deleted: false,
            key_changed,
            claim_failures: 0,
            claim_retry_at: 0,
        }
    }

    #[test]
    fn table_of_cases() {
        let (good, changed) = (device(false), device(true));
        for (claimed, device, expected) in [
            (Some("ed"), None, Trust::UnknownDevice),
            (Some("ed"), Some(&good), Trust::Unsigned),
            (Some("other"), Some(&good), Trust::KeyChanged),
            (None, Some(&good), Trust::KeyChanged),
            (Some("ed"), Some(&changed), Trust::KeyChanged),
        ] {
            let facts = MessageFacts { claimed_signing_key: claimed, device };
            assert_eq!(of_message(facts), expected);
        }
    }

    #[test]
    fn levels_are_in_order() {
        assert!(Trust::LEVELS.is_sorted());
    }
}
