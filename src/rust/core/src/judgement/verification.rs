//! What the other side of a verification says.
//!
//! Specification: client-server API, end-to-end encryption, "Key verification framework", "Short
//! Authentication String (SAS) verification" and "QR codes". Each content is read whole into a typed message, or
//! refused; what it means at this point of a verification is decided by the machine.

use std::collections::BTreeMap;

use super::identifier;
use crate::primitives::{
    canonical_json::{Json, Object},
    sas::MacMethod,
};

/// What the types of all events of a verification begin with.
pub const PREFIX: &str = "m.key.verification.";
/// The `msgtype` of a request in a room.
pub const REQUEST: &str = "m.key.verification.request";
/// Comparing emoji or numbers.
pub const SAS: &str = "m.sas.v1";
/// Showing a QR code, for the other side to scan.
pub const SHOW: &str = "m.qr_code.show.v1";
/// Scanning the QR code of the other side.
pub const SCAN: &str = "m.qr_code.scan.v1";
/// What begins when a QR code was scanned.
pub const RECIPROCATE: &str = "m.reciprocate.v1";

/// The agreement, hash and strings of SAS that are known here.
pub const KEY_AGREEMENT: &str = "curve25519-hkdf-sha256";
/// See [`KEY_AGREEMENT`].
pub const HASH: &str = "sha256";
/// Seven emoji. See [`KEY_AGREEMENT`].
pub const EMOJI: &str = "emoji";
/// Three numbers. See [`KEY_AGREEMENT`].
pub const DECIMAL: &str = "decimal";

/// The longest list of names that is read, and the most keys that are authenticated.
const MOST_NAMES: usize = 50;

/// Why a verification ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// A person ended it.
    User,
    /// It took too long.
    Timeout,
    /// Nothing is known of it.
    UnknownTransaction,
    /// There is no common way to go on.
    UnknownMethod,
    /// A message came that is not this one's turn.
    UnexpectedMessage,
    /// A key is another than the one that was expected.
    KeyMismatch,
    /// Another user or device answers than the one that is verified.
    UserMismatch,
    /// A message cannot be read.
    InvalidMessage,
    /// Another device of the user went on with it.
    Accepted,
    /// The key that was shown is not the one that was announced.
    MismatchedCommitment,
    /// A person saw something else than the other.
    MismatchedSas,
}

impl Cancel {
    const ALL: [Cancel; 11] = [
        Cancel::User,
        Cancel::Timeout,
        Cancel::UnknownTransaction,
        Cancel::UnknownMethod,
        Cancel::UnexpectedMessage,
        Cancel::KeyMismatch,
        Cancel::UserMismatch,
        Cancel::InvalidMessage,
        Cancel::Accepted,
        Cancel::MismatchedCommitment,
        Cancel::MismatchedSas,
    ];

    /// The one with this code, if it is of the specification.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cancel| cancel.code() == code)
    }

    /// The code of the specification.
    pub const fn code(self) -> &'static str {
        self.words().0
    }

    /// What is said of it to people.
    pub const fn reason(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Cancel::User => ("m.user", "A user ended the verification."),
            Cancel::Timeout => ("m.timeout", "The verification took too long."),
            Cancel::UnknownTransaction => {
                ("m.unknown_transaction", "This verification is not known here.")
            }
            Cancel::UnknownMethod => ("m.unknown_method", "There is no method that both know."),
            Cancel::UnexpectedMessage => {
                ("m.unexpected_message", "A message came that was not expected.")
            }
            Cancel::KeyMismatch => ("m.key_mismatch", "A key is not the one that was expected."),
            Cancel::UserMismatch => {
                ("m.user_mismatch", "Another user or device answers than was asked.")
            }
            Cancel::InvalidMessage => ("m.invalid_message", "A message could not be read."),
            Cancel::Accepted => ("m.accepted", "Another device of the user goes on with it."),
            Cancel::MismatchedCommitment => {
                ("m.mismatched_commitment", "The key is not the one that was announced.")
            }
            Cancel::MismatchedSas => ("m.mismatched_sas", "What the users compared differs."),
        }
    }
}

/// A message of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Somebody wants to verify.
    Request(Request),
    /// Somebody accepts a request.
    Ready {
        /// The device.
        from_device: String,
        /// What it can do.
        methods: Vec<String>,
    },
    /// A method begins.
    Start(Start),
    /// SAS: the choices of the side that did not begin it.
    Accept(Accept),
    /// SAS: the public half of the agreement.
    Key {
        /// Unpadded base64.
        key: String,
    },
    /// SAS: keys are authenticated.
    Mac(Mac),
    /// The other side has come to its end.
    Done,
    /// The other side gives up.
    Cancel {
        /// The code.
        code: String,
    },
}

/// `m.key.verification.request`, or such a message in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The device that asks.
    pub from_device: String,
    /// What it can do.
    pub methods: Vec<String>,
    /// When it asked; of to-device requests.
    pub timestamp: Option<i64>,
    /// Whom it asks; of requests in a room.
    pub to: Option<String>,
}

/// `m.key.verification.start`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The device that begins.
    pub from_device: String,
    /// The method.
    pub method: String,
    /// What SAS may choose from.
    pub offer: Option<Offer>,
    /// The secret of the QR code that was scanned, unpadded base64.
    pub secret: Option<String>,
}

/// What the side that begins SAS can do. Only what is known here is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The best way to authenticate keys.
    pub mac: MacMethod,
    /// Emoji, as well as numbers.
    pub emoji: bool,
}

/// `m.key.verification.accept`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// How keys are authenticated.
    pub mac: MacMethod,
    /// Emoji are compared, or may be.
    pub emoji: bool,
    /// What is said of the key before it is shown.
    pub commitment: String,
}

/// `m.key.verification.mac`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mac {
    /// MACs of keys, by their ids.
    pub keys: BTreeMap<String, String>,
    /// The MAC of the ids.
    pub ids: String,
}

impl Message {
    /// Reads `content` of an event of `event_type`; none when that is not known.
    ///
    /// # Errors
    /// [`Cancel::InvalidMessage`], or [`Cancel::UnknownMethod`] when it chooses what is not known.
    pub fn read(event_type: &str, content: &Object) -> Result<Option<Self>, Cancel> {
        let Some(name) = event_type.strip_prefix(PREFIX) else { return Ok(None) };
        Ok(Some(match name {
            "request" => Message::Request(Request {
                from_device: text(content, "from_device")?,
                methods: names(content, "methods")?,
                timestamp: content.get("timestamp").and_then(Json::as_time),
                to: content.get("to").and_then(Json::as_str).map(str::to_owned),
            }),
            "ready" => Message::Ready {
                from_device: text(content, "from_device")?,
                methods: names(content, "methods")?,
            },
            "start" => Message::Start(read_start(content)?),
            "accept" => Message::Accept(read_accept(content)?),
            "key" => Message::Key { key: text(content, "key")? },
            "mac" => Message::Mac(read_mac(content)?),
            "done" => Message::Done,
            "cancel" => Message::Cancel { code: text(content, "code")? },
            _ => return Ok(None),
        }))
    }
}

fn read_start(content: &Object) -> Result<Start, Cancel> {
    let method = text(content, "method")?;
    let offer = if method == SAS { Some(read_offer(content)?) } else { None };
    let secret = if method == RECIPROCATE { Some(text(content, "secret")?) } else { None };
    Ok(Start { from_device: text(content, "from_device")?, method, offer, secret })
}

fn read_offer(content: &Object) -> Result<Offer, Cancel> {
    let offers = |name: &str, one: &str| Ok(names(content, name)?.iter().any(|found| found == one));
    let known = |found: bool| if found { Ok(()) } else { Err(Cancel::UnknownMethod) };
    known(offers("key_agreement_protocols", KEY_AGREEMENT)?)?;
    known(offers("hashes", HASH)?)?;
    let macs = names(content, "message_authentication_codes")?;
    let emoji = offers("short_authentication_string", EMOJI)?;
    known(emoji || offers("short_authentication_string", DECIMAL)?)?;
    // The older one has a defect, and is for those who know nothing better.
    let mac = MacMethod::ALL.into_iter().find(|method| macs.iter().any(|m| m == method.as_str()));
    Ok(Offer { mac: mac.ok_or(Cancel::UnknownMethod)?, emoji })
}

fn read_accept(content: &Object) -> Result<Accept, Cancel> {
    let chosen = |name: &str, offered: &str| match text(content, name)? == offered {
        true => Ok(()),
        false => Err(Cancel::UnknownMethod),
    };
    chosen("key_agreement_protocol", KEY_AGREEMENT)?;
    chosen("hash", HASH)?;
    let mac = text(content, "message_authentication_code")?;
    let mac = MacMethod::ALL.into_iter().find(|method| method.as_str() == mac);
    let strings = names(content, "short_authentication_string")?;
    let emoji = strings.iter().any(|s| s == EMOJI);
    if !emoji && !strings.iter().any(|s| s == DECIMAL) {
        return Err(Cancel::UnknownMethod);
    }
    Ok(Accept {
        mac: mac.ok_or(Cancel::UnknownMethod)?,
        emoji,
        commitment: text(content, "commitment")?,
    })
}

fn read_mac(content: &Object) -> Result<Mac, Cancel> {
    let macs = content.get("mac").and_then(Json::as_object).ok_or(Cancel::InvalidMessage)?;
    if macs.len() > MOST_NAMES {
        return Err(Cancel::InvalidMessage);
    }
    let pair = |(id, mac): (&String, &Json)| {
        let mac = mac.as_str().filter(|_| identifier::is_sound(id));
        Ok((id.clone(), mac.ok_or(Cancel::InvalidMessage)?.to_owned()))
    };
    Ok(Mac { keys: macs.iter().map(pair).collect::<Result<_, _>>()?, ids: text(content, "keys")? })
}

fn text(content: &Object, name: &str) -> Result<String, Cancel> {
    let text = content.get(name).and_then(Json::as_str).filter(|text| identifier::is_sound(text));
    text.map(str::to_owned).ok_or(Cancel::InvalidMessage)
}

fn names(content: &Object, name: &str) -> Result<Vec<String>, Cancel> {
    let list = content.get(name).and_then(Json::as_array).ok_or(Cancel::InvalidMessage)?;
    if list.len() > MOST_NAMES {
        return Err(Cancel::InvalidMessage);
    }
    let name = |name: &Json| {
        let name = name.as_str().filter(|name| identifier::is_sound(name));
        name.map(str::to_owned).ok_or(Cancel::InvalidMessage)
    };
    list.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(name: &str, content: &Value) -> Result<Option<Message>, Cancel> {
        let content = Json::parse_object(&content.to_string()).unwrap();
        Message::read(&format!("{PREFIX}{name}"), &content)
    }

    fn start() -> Value {
        json!({
            "from_device": "D", "method": SAS,
            "key_agreement_protocols": ["curve25519", KEY_AGREEMENT], "hashes": [HASH],
            "message_authentication_codes": ["hkdf-hmac-sha256", "hkdf-hmac-sha256.v2"],
            "short_authentication_string": ["decimal", "emoji"],
        })
    }

    fn accept() -> Value {
        json!({
            "key_agreement_protocol": KEY_AGREEMENT, "hash": HASH, "commitment": "x",
            "message_authentication_code": "hkdf-hmac-sha256.v2",
            "short_authentication_string": ["emoji"],
        })
    }

    #[test]
    fn messages_are_read_and_others_left() {
        let start = read("start", &start()).unwrap().unwrap();
        let Message::Start(Start { offer: Some(offer), .. }) = start else { panic!() };
        assert_eq!(offer, Offer { mac: MacMethod::V2, emoji: true });
        assert!(matches!(read("accept", &accept()), Ok(Some(Message::Accept(_)))));
        assert!(matches!(
            read("start", &json!({"from_device": "D", "method": "m.other"})),
            Ok(Some(Message::Start(Start { offer: None, secret: None, .. })))
        ));
        assert_eq!(read("done", &json!({})), Ok(Some(Message::Done)));
        assert_eq!(read("anything", &json!({})), Ok(None));
    }

    #[test]
    fn the_older_mac_is_for_those_who_know_nothing_better() {
        let mut old = start();
        old["message_authentication_codes"] = json!(["hkdf-hmac-sha256"]);
        let Ok(Some(Message::Start(Start { offer, .. }))) = read("start", &old) else { panic!() };
        assert_eq!(offer.unwrap().mac, MacMethod::Libolm);
    }

    #[test]
    fn what_is_missing_or_too_much_is_invalid() {
        let cases = [
            ("request", json!({"from_device": "D", "methods": []})),
            ("ready", json!({"from_device": "D", "methods": ["m"]})),
            ("start", start()),
            ("start", json!({"from_device": "D", "method": RECIPROCATE, "secret": "x"})),
            ("accept", accept()),
            ("key", json!({"key": "x"})),
            ("mac", json!({"mac": {"ed25519:D": "x"}, "keys": "x"})),
            ("cancel", json!({"code": "m.user"})),
        ];
        for (name, good) in cases {
            assert!(matches!(read(name, &good), Ok(Some(_))), "{name}");
            for member in good.as_object().unwrap().keys() {
                let long: Vec<String> = vec!["m".into(); MOST_NAMES + 1];
                let many: BTreeMap<String, &str> =
                    (0..=MOST_NAMES).map(|n| (format!("ed25519:{n}"), "x")).collect();
                for bad in [json!(null), json!(7), json!([7]), json!(""), json!(long), json!(many)]
                {
                    let mut content = good.clone();
                    content[member] = bad.clone();
                    let found = read(name, &content);
                    assert!(found.is_err(), "{name}.{member} = {bad}: {found:?}");
                }
                let mut content = good.clone();
                content.as_object_mut().unwrap().remove(member);
                assert!(read(name, &content).is_err(), "{name} without {member}");
            }
        }
    }

    #[test]
    fn what_is_not_known_here_is_no_method() {
        for member in [
            "key_agreement_protocols",
            "hashes",
            "message_authentication_codes",
            "short_authentication_string",
        ] {
            let mut content = start();
            content[member] = json!(["other"]);
            assert_eq!(read("start", &content), Err(Cancel::UnknownMethod), "{member}");
        }
        for member in ["key_agreement_protocol", "hash", "message_authentication_code"] {
            let mut content = accept();
            content[member] = json!("other");
            assert_eq!(read("accept", &content), Err(Cancel::UnknownMethod), "{member}");
        }
        let mut content = accept();
        content["short_authentication_string"] = json!(["other"]);
        assert_eq!(read("accept", &content), Err(Cancel::UnknownMethod));
    }
}
