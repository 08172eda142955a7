//! How far a message can be trusted: one pure function from facts to one ordered level.

use crate::store::records::{Device, LocalTrust};

/// Levels of trust, lowest first, so that a policy is a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// It came unencrypted, or cannot be read: nothing vouches for it.
    None,
    /// Our user blocked its device.
    Blocked,
    /// The key of its device changed, or contradicts what the device claims.
    KeyChanged,
    /// The device that made its session is not known.
    UnknownDevice,
    /// The owner of the device has another identity than the one that was pinned.
    IdentityChanged,
    /// The device is known, and not signed by its owner's identity.
    Unsigned,
    /// A trusted device is said to have made its session, whose key came by way of another.
    NotGuaranteed,
    /// Its owner signed it, with an identity that was pinned when it was first seen.
    Signed,
    /// Its owner signed it, with an identity that we verified, or that is ours; or our user
    /// compared its fingerprint.
    Verified,
}

impl Trust {
    /// All levels, lowest first.
    pub const LEVELS: [Trust; 9] = [
        Trust::None,
        Trust::Blocked,
        Trust::KeyChanged,
        Trust::UnknownDevice,
        Trust::IdentityChanged,
        Trust::Unsigned,
        Trust::NotGuaranteed,
        Trust::Signed,
        Trust::Verified,
    ];

    /// The name of the level.
    pub const fn as_str(self) -> &'static str {
        match self {
            Trust::None => "none",
            Trust::Blocked => "blocked",
            Trust::KeyChanged => "key_changed",
            Trust::UnknownDevice => "unknown_device",
            Trust::IdentityChanged => "identity_changed",
            Trust::Unsigned => "unsigned",
            Trust::NotGuaranteed => "not_guaranteed",
            Trust::Signed => "signed",
            Trust::Verified => "verified",
        }
    }
}

/// What is known of the identity of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The self-signing key.
    pub self_signing_key: Option<String>,
    /// It is another identity than the one that was pinned.
    pub changed: bool,
    /// We verified it, or it is our own.
    pub verified: bool,
}

/// Whether its owner's identity signed a device, whatever that identity is worth.
pub fn is_signed(device: &Device, owner: &Owner) -> bool {
    device.signed_by.is_some() && device.signed_by == owner.self_signing_key
}

/// The trust in a device.
pub fn of_device(device: &Device, owner: &Owner) -> Trust {
    let signed = is_signed(device, owner);
    match () {
        () if device.local == LocalTrust::Blocked => Trust::Blocked,
        () if device.key_changed => Trust::KeyChanged,
        // The very key was compared: no other identity can change that.
        () if device.local == LocalTrust::Verified => Trust::Verified,
        () if owner.changed => Trust::IdentityChanged,
        () if !signed => Trust::Unsigned,
        () if owner.verified => Trust::Verified,
        () => Trust::Signed,
    }
}

/// What is known of the session a message came with.
#[derive(Debug, Clone, Copy)]
pub struct MessageFacts<'a> {
    /// The Ed25519 key the sending device claimed when it gave us the session.
    pub claimed_signing_key: Option<&'a str>,
    /// The device of the sender that owns the session's Curve25519 key, if one is known.
    pub device: Option<&'a Device>,
    /// The identity of the sender.
    pub owner: &'a Owner,
    /// The way the key came proves which device made the session.
    pub is_authentic: bool,
}

/// The trust in a message that was decrypted.
pub fn of_message(facts: MessageFacts<'_>) -> Trust {
    let Some(device) = facts.device else { return Trust::UnknownDevice };
    // A device that copied another's Curve25519 key cannot also claim its Ed25519 key. Exported keys
    // may leave out what it claimed, and guarantee nothing either way.
    if facts.claimed_signing_key.map_or(facts.is_authentic, |key| key != device.signing_key) {
        return Trust::KeyChanged;
    }
    let trust = of_device(device, facts.owner);
    if facts.is_authentic { trust } else { trust.min(Trust::NotGuaranteed) }
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
            signed_by: None,
            local: LocalTrust::Unset,
            first_seen_at: 0,
            deleted: false,
            key_changed,
            claim_failures: 0,
            claim_retry_at: 0,
            told_no_olm: false,
            dehydrated: false,
        }
    }

    #[test]
    fn table_of_cases() {
        let (good, changed) = (device(false), device(true));
        let signed = |by: &str| Device { signed_by: Some(by.into()), ..device(false) };
        let (ours, theirs) = (signed("ssk"), signed("another"));
        let owner = |self_signing_key: Option<&str>, changed, verified| Owner {
            self_signing_key: self_signing_key.map(str::to_owned),
            changed,
            verified,
        };
        let nobody = Owner::default();
        let (pinned, verified) =
            (owner(Some("ssk"), false, false), owner(Some("ssk"), false, true));
        let (moved, lost) = (owner(Some("ssk"), true, false), owner(Some("ssk"), true, true));
        let local = |local, device: &Device| Device { local, ..device.clone() };
        let compared = local(LocalTrust::Verified, &good);
        let compared_and_changed = local(LocalTrust::Verified, &changed);
        let (blocked, blocked_ours) =
            (local(LocalTrust::Blocked, &changed), local(LocalTrust::Blocked, &ours));
        for (claimed, device, owner, expected) in [
            (Some("ed"), None, &verified, Trust::UnknownDevice),
            (Some("other"), Some(&ours), &verified, Trust::KeyChanged),
            (None, Some(&ours), &verified, Trust::KeyChanged),
            (Some("ed"), Some(&changed), &nobody, Trust::KeyChanged),
            (Some("ed"), Some(&good), &nobody, Trust::Unsigned),
            (Some("ed"), Some(&good), &verified, Trust::Unsigned),
            (Some("ed"), Some(&theirs), &verified, Trust::Unsigned),
            (Some("ed"), Some(&ours), &nobody, Trust::Unsigned),
            (Some("ed"), Some(&ours), &pinned, Trust::Signed),
            (Some("ed"), Some(&ours), &verified, Trust::Verified),
            (Some("ed"), Some(&ours), &moved, Trust::IdentityChanged),
            (Some("ed"), Some(&ours), &lost, Trust::IdentityChanged),
            (Some("ed"), Some(&compared), &nobody, Trust::Verified),
            (Some("ed"), Some(&compared), &lost, Trust::Verified),
            (Some("ed"), Some(&compared_and_changed), &verified, Trust::KeyChanged),
            (Some("other"), Some(&compared), &verified, Trust::KeyChanged),
            (Some("ed"), Some(&blocked), &nobody, Trust::Blocked),
            (Some("ed"), Some(&blocked_ours), &verified, Trust::Blocked),
            (Some("other"), Some(&blocked), &nobody, Trust::KeyChanged),
        ] {
            let facts =
                MessageFacts { claimed_signing_key: claimed, device, owner, is_authentic: true };
            assert_eq!(of_message(facts), expected);
            // A key that came by way of another proves no more than it did; and it may come without
            // a claim.
            let facts = MessageFacts { is_authentic: false, ..facts };
            let most = if claimed.is_some() { expected } else { Trust::Verified };
            assert_eq!(of_message(facts), most.min(Trust::NotGuaranteed));
        }
    }

    #[test]
    fn levels_are_in_order() {
        assert!(Trust::LEVELS.is_sorted());
    }
}
