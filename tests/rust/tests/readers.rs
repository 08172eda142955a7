//! Whatever bytes a stranger chooses: every reader gives a value or an error, and never panics.

use std::collections::BTreeSet;

use mxcrypt_core::{
    judgement::{
        backup_answer::{Part, Scope, write_parts},
        dehydrated_device, device_keys, exported_session, key_backup, keys_claim, keys_query,
        olm_payload,
        room_event::{MegolmContent, Payload, RoomEvent},
        sync_response::SyncResponse,
    },
    primitives::{
        canonical_json::Json, dehydrated_device::DehydrationKey, key_backup::BackupKey, keys,
        megolm, olm,
    },
    store::records::BackupVersion,
};
use proptest::prelude::*;
use vodozemac::olm::Account;

/// JSON that looks like Matrix: known names, odd values.
fn matrix_like() -> impl Strategy<Value = serde_json::Value> {
    let name = prop::sample::select(vec![
        "type",
        "content",
        "sender",
        "event_id",
        "room_id",
        "state_key",
        "keys",
        "signatures",
        "user_id",
        "device_id",
        "algorithms",
        "algorithm",
        "ciphertext",
        "session_id",
        "body",
        "next_batch",
        "rooms",
        "join",
        "invite",
        "leave",
        "timeline",
        "events",
        "state",
        "limited",
        "prev_batch",
        "to_device",
        "device_lists",
        "changed",
        "left",
        "device_keys",
        "failures",
        "one_time_keys",
        "@alice:here",
        "DEV",
        "!room:here",
        "unsigned",
        "m.relates_to",
        "ed25519:DEV",
        "curve25519:DEV",
        "origin_server_ts",
        "invite_state",
        "chunk",
        "version",
        "auth_data",
        "public_key",
        "sessions",
        "session_data",
        "ephemeral",
        "mac",
        "session_key",
        "sender_key",
    ]);
    let text = prop_oneof![
        any::<String>(),
        "[A-Za-z0-9+/=_-]{0,60}",
        Just("m.megolm.v1.aes-sha2".to_owned()),
        Just("m.olm.v1.curve25519-aes-sha2".to_owned()),
        Just("m.room.encrypted".to_owned()),
        Just("@alice:here".to_owned()),
        Just("DEV".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|n| serde_json::json!(n)),
        text.prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn read_everything(text: &str) {
    let asked = BTreeSet::from(["@alice:here".to_owned()]);
    let _ = SyncResponse::read(text);
    let _ = keys_query::judge(text, &asked);
    let account = Account::new();
    if let Ok(answer) = keys_claim::Answer::read(text) {
        let _ = answer.judge("@alice:here", "DEV", account.ed25519_key());
    }
    let _ = device_keys::judge(text, "@alice:here", "DEV");
    let recipient =
        olm_payload::Recipient { user_id: "@alice:here", signing_key: account.ed25519_key() };
    let _ = olm_payload::judge(text.as_bytes(), "@a:b", account.curve25519_key(), recipient);
    if let Ok(version) = BackupVersion::read(text) {
        let _ = version.public_key();
        let _ = version.signatures("@alice:here", |_| Some(account.ed25519_key()));
    }
    let _ = dehydrated_device::Events::read(text);
    let dehydration_key = DehydrationKey::random().unwrap();
    let _ = dehydrated_device::Stored::read(text).map(|s| dehydration_key.open(&s.device_data));
    let _ = exported_session::judge(text);
    let _ = exported_session::judge_at(text, "!room:here", "x");
    for scope in [Scope::All, Scope::Room("!r"), Scope::Session("!r", "s")] {
        let mut lines = Vec::new();
        if write_parts(text.as_bytes(), scope, 2, &mut lines).is_ok() {
            for line in String::from_utf8(lines).unwrap().lines() {
                Part::read(line).unwrap();
            }
        }
    }
    let key = BackupKey::random().unwrap().decryption();
    let _ = key_backup::session_data(text).map(|data| key.decrypt(&data));
    if let Ok(object) = Json::parse_object(text) {
        let _ = key.decrypt(&object);
    }
    if let Ok(event) = RoomEvent::read(text) {
        let _ = MegolmContent::read(&event);
        let _ = Payload::judge(text.as_bytes(), "!room:here", &event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text(text in any::<String>()) {
        read_everything(&text);
    }

    #[test]
    fn text_that_looks_like_matrix(value in matrix_like()) {
        read_everything(&value.to_string());
    }

    #[test]
    fn any_base64_as_key_signature_or_message(text in "[A-Za-z0-9+/]{0,200}={0,3}") {
        let _ = keys::curve25519(&text);
        let _ = keys::ed25519(&text);
        let _ = keys::signature(&text);
        let _ = megolm::message(&text);
        let _ = megolm::inbound(&text);
        for message_type in -1..3 {
            let _ = olm::message(message_type, &text);
        }
    }

    /// Messages that were good before some bytes of them changed.
    #[test]
    fn altered_messages(position in any::<prop::sample::Index>(), bits in 1u8..) {
        let (alice, mut bob) = (Account::new(), Account::new());
        bob.generate_one_time_keys(1);
        let key = *bob.one_time_keys().values().next().unwrap();
        let mut session = olm::outbound(&alice, bob.curve25519_key(), key).unwrap();
        let (message_type, body) = olm::parts(&olm::encrypt(&mut session, b"hello").unwrap());
        let mut bytes = keys::decode_base64(&body).unwrap();
        let place = position.index(bytes.len());
        bytes[place] ^= bits;
        if let Ok(vodozemac::olm::OlmMessage::PreKey(message)) =
            olm::message(message_type, &keys::encode_base64(&bytes))
        {
            let opened = olm::inbound(&mut bob, alice.curve25519_key(), &message);
            prop_assert!(opened.map_or(true, |opened| opened.plaintext == b"hello"));
        }

        let mut sender = megolm::outbound();
        let mut receiver = megolm::inbound(&sender.session_key().to_base64()).unwrap();
        let mut bytes = keys::decode_base64(&megolm::encrypt(&mut sender, b"hello")).unwrap();
        let place = position.index(bytes.len());
        bytes[place] ^= bits;
        // vodozemac signs what a message says and not how its protobuf is written: one that is
        // written otherwise may open, and must say the same.
        let opened = megolm::decrypt(&mut receiver, &keys::encode_base64(&bytes));
        prop_assert!(opened.map_or(true, |m| m.plaintext == b"hello" && m.message_index == 0));
    }

    /// What is canonical stays as it is, and says the same.
    #[test]
    fn canonical_json_is_a_fixed_point(value in matrix_like()) {
        use mxcrypt_core::primitives::canonical_json::Numbers;
        let json = Json::parse(&value.to_string()).unwrap();
        if let Ok(text) = json.canonical(Numbers::Normalised) {
            let again = Json::parse(&text).unwrap();
            prop_assert_eq!(again.canonical(Numbers::Canonical).unwrap(), text);
        }
    }
}
