//! W3: what a client does around the keys of other devices, with answers that are at hand.

use std::{collections::BTreeMap, fs, path::Path};

use matrix_sdk_crypto::{EncryptionSettings, OlmMachine, types::requests::AnyOutgoingRequest};
use ruma::{
    OwnedTransactionId, OwnedUserId, RoomId, UserId,
    api::client::{
        keys::{
            claim_keys::v3::Response as KeysClaimed, get_keys::v3::Response as DevicesReturned,
        },
        to_device::send_event_to_device::v3::Response as ToDeviceSent,
    },
    room_id,
    serde::Raw,
};
use serde_json::Value;

pub(crate) fn room() -> &'static RoomId {
    room_id!("!bench:demo")
}

fn users(names: &[OwnedUserId]) -> impl Iterator<Item = &UserId> {
    names.iter().map(AsRef::as_ref)
}

/// What `/keys/query` returns of each user, as text.
pub(crate) type Devices = BTreeMap<OwnedUserId, String>;

/// Each line of `device_keys.jsonl`, of the first `size` users.
pub(crate) fn devices(dir: &Path, size: usize) -> Devices {
    let lines = fs::read_to_string(dir.join("device_keys.jsonl")).expect("the fixtures first");
    let device = |line: &str| {
        let keys: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| keys[name].as_str().expect("text").to_owned();
        let user_id = OwnedUserId::try_from(text("user_id")).expect("a user");
        (user_id, format!("{{\"{}\":{line}}}", text("device_id")))
    };
    lines.lines().take(size).map(device).collect()
}

/// The answers to the requests for devices that the machine has now, as the server would write them.
pub(crate) async fn query_answers(
    machine: &OlmMachine,
    devices: &Devices,
) -> Vec<(OwnedTransactionId, String)> {
    let requests = machine.outgoing_requests().await.expect("requests");
    let answer = |request: &matrix_sdk_crypto::types::requests::OutgoingRequest| {
        let AnyOutgoingRequest::KeysQuery(query) = request.request() else { return None };
        let of_user =
            |user_id: &OwnedUserId| Some(format!("\"{user_id}\":{}", devices.get(user_id)?));
        let members: Vec<String> = query.device_keys.keys().filter_map(of_user).collect();
        Some((request.request_id().to_owned(), format!("{{{}}}", members.join(","))))
    };
    requests.iter().filter_map(answer).collect()
}

/// Has the devices verified and stored.
pub(crate) async fn receive_devices(
    machine: &OlmMachine,
    answers: &[(OwnedTransactionId, String)],
) {
    for (id, answer) in answers {
        let mut response = DevicesReturned::new();
        response.device_keys = serde_json::from_str(answer).expect("devices");
        machine.mark_request_as_sent(id, &response).await.expect("devices");
    }
}

/// Opens Olm sessions with the devices of these users.
pub(crate) async fn claim(machine: &OlmMachine, names: &[OwnedUserId], answer: &str) {
    let request = machine.get_missing_sessions(users(names)).await.expect("a request");
    let (id, _) = request.expect("no sessions yet");
    let mut answer: BTreeMap<String, Value> = serde_json::from_str(answer).expect("an answer");
    let keys = answer.remove("one_time_keys").expect("keys");
    let response = KeysClaimed::new(serde_json::from_value(keys).expect("keys"));
    machine.mark_request_as_sent(&id, &response).await.expect("keys");
}

/// What a client does for each message: shares the key where it is owed, and encrypts. Returns the
/// bodies of the requests.
pub(crate) async fn send(machine: &OlmMachine, names: &[OwnedUserId]) -> Vec<String> {
    let mut bodies = share_key(machine, names).await;
    bodies.push(encrypt(machine, &content()).await);
    bodies
}

pub(crate) async fn share_key(machine: &OlmMachine, names: &[OwnedUserId]) -> Vec<String> {
    // A session that lasts as long as the package allows.
    let settings = EncryptionSettings { rotation_period_msgs: 10_000, ..Default::default() };
    let requests =
        machine.share_room_key(room(), users(names), settings).await.expect("a key to share");
    let mut bodies = Vec::new();
    for request in requests {
        bodies.push(serde_json::to_string(&request.messages).expect("JSON"));
        let sent = ToDeviceSent::new();
        machine.mark_request_as_sent(&request.txn_id, &sent).await.expect("noted");
    }
    bodies
}

/// The content of a text message of 200 bytes.
pub(crate) fn content() -> String {
    let body = "x".repeat(200);
    serde_json::json!({"msgtype": "m.text", "body": body, "m.mentions": {}}).to_string()
}

pub(crate) async fn encrypt(machine: &OlmMachine, content: &str) -> String {
    let content = Raw::from_json_string(content.to_owned()).expect("JSON");
    let sent = machine.encrypt_room_event_raw(room(), "m.room.message", &content).await;
    sent.expect("encrypted").content.json().get().to_owned()
}
