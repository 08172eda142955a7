//! The device that is measured, with its store: made once, and copied for each workload.

use std::{
    collections::BTreeMap, fs, future::Future, path::Path, sync::LazyLock, thread, time::Duration,
};

use matrix_sdk_crypto::{
    DecryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement,
    types::{events::room::encrypted::EncryptedEvent, requests::AnyOutgoingRequest},
};
use matrix_sdk_sqlite::SqliteCryptoStore;
use ruma::{
    OneTimeKeyAlgorithm, OwnedRoomId, UInt,
    api::client::{
        keys::upload_keys::v3::Response as KeysUploaded, sync::sync_events::DeviceLists,
    },
    device_id,
    events::AnyToDeviceEvent,
    serde::Raw,
    user_id,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A store without a key would not be what its users have; a passphrase would cost its rounds.
const STORE_KEY: [u8; 32] = [7; 32];
/// As the package does for these fixtures, whose devices nobody signed.
pub(crate) const SETTINGS: DecryptionSettings =
    DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };

const NO_KEYS: &str = r#"{
    "next_batch": "first",
    "device_one_time_keys_count": {"signed_curve25519": 0},
    "device_unused_fallback_key_types": []
}"#;

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

/// The device on the store that lies in `dir`.
pub(crate) async fn open(dir: &Path) -> OlmMachine {
    let store = SqliteCryptoStore::open_with_key(dir, Some(&STORE_KEY)).await.expect("a store");
    OlmMachine::with_store(user_id!("@alice:demo"), device_id!("SDK"), store, None)
        .await
        .expect("a device")
}

/// Makes `store_0`, and prints what others need to write to the device.
pub(crate) fn prepare(dir: &Path) {
    wait(async {
        let machine = open(&dir.join("store_0")).await;
        // Keys are made once the server has told that it has none.
        Sync::parse(NO_KEYS).receive(&machine).await;
        let requests = machine.outgoing_requests().await.expect("requests");
        let upload = requests.iter().find_map(|request| match request.request() {
            AnyOutgoingRequest::KeysUpload(upload) => Some((request.request_id(), upload)),
            _ => None,
        });
        let (id, upload) = upload.expect("an upload");
        let first = |keys: Value| {
            let key = keys.as_object().and_then(|keys| keys.values().next()).expect("a key");
            key["key"].clone()
        };
        let keys = machine.identity_keys();
        println!(
            "{}",
            json!({
                "user_id": "@alice:demo",
                "ed25519": keys.ed25519.to_base64(),
                "curve25519": keys.curve25519.to_base64(),
                "one_time_key": first(serde_json::to_value(&upload.one_time_keys).expect("JSON")),
                "fallback_key": first(serde_json::to_value(&upload.fallback_keys).expect("JSON")),
            })
        );
        let counts = BTreeMap::from([(OneTimeKeyAlgorithm::SignedCurve25519, UInt::from(50_u32))]);
        machine.mark_request_as_sent(id, &KeysUploaded::new(counts)).await.expect("noted");
    });
}

/// Takes in `keys_0001.json` and so on, of a hundred keys each, and leaves `store_<size>`.
pub(crate) fn fill(dir: &Path, sizes: &[&str]) {
    let filled = dir.join("store_filled");
    copy_dir(&dir.join("store_0"), &filled);
    let mut done = 0;
    for name in sizes {
        let size: usize = name.parse().expect("a number");
        wait(async {
            let machine = open(&filled).await;
            for number in done + 1..=size / 100 {
                let text = fs::read_to_string(dir.join(format!("keys_{number:04}.json")));
                Sync::parse(&text.expect("a sync answer")).receive(&machine).await;
            }
        });
        done = size / 100;
        wait_for_close(&filled);
        copy_dir(&filled, &dir.join(format!("store_{name}")));
    }
    fs::remove_dir_all(filled).expect("removed");
}

/// The store closes its connections in the background; with the last one its log goes. One may stay
/// open for good: then the log is copied too, for nobody writes any more.
fn wait_for_close(dir: &Path) {
    let is_log = |path: &Path| path.to_string_lossy().ends_with("-wal");
    let is_open = || {
        let entries = fs::read_dir(dir).expect("a store");
        entries.flatten().any(|entry| is_log(&entry.path()))
    };
    for _ in 0..100 {
        if !is_open() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a store") {
        let path = entry.expect("a file").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

/// What a client takes from the answer to `GET /sync`.
#[derive(Deserialize)]
pub(crate) struct Sync {
    next_batch: String,
    #[serde(default = "none")]
    to_device: Events<AnyToDeviceEvent>,
    #[serde(default)]
    device_one_time_keys_count: BTreeMap<OneTimeKeyAlgorithm, UInt>,
    device_unused_fallback_key_types: Option<Vec<OneTimeKeyAlgorithm>>,
    #[serde(default)]
    rooms: Rooms,
}

#[derive(Deserialize, Default)]
struct Rooms {
    join: BTreeMap<OwnedRoomId, Room>,
}

#[derive(Deserialize)]
struct Room {
    #[serde(default = "none")]
    timeline: Events<EncryptedEvent>,
}

#[derive(Deserialize)]
struct Events<T> {
    events: Vec<Raw<T>>,
}

fn none<T>() -> Events<T> {
    Events { events: Vec::new() }
}

impl Sync {
    pub(crate) fn parse(text: &str) -> Self {
        serde_json::from_str(text).expect("a sync answer")
    }

    /// Has the machine process it, and returns the events it decrypted.
    pub(crate) async fn receive(self, machine: &OlmMachine) -> Vec<String> {
        let changes = EncryptionSyncChanges {
            to_device_events: self.to_device.events,
            changed_devices: &DeviceLists::new(),
            one_time_keys_counts: &self.device_one_time_keys_count,
            unused_fallback_keys: self.device_unused_fallback_key_types.as_deref(),
            next_batch_token: Some(self.next_batch),
        };
        machine.receive_sync_changes(changes, &SETTINGS).await.expect("received");
        let mut read = Vec::new();
        for (room_id, room) in self.rooms.join {
            for event in &room.timeline.events {
                let decrypted = machine.decrypt_room_event(event, &room_id, &SETTINGS).await;
                read.push(decrypted.expect("decrypted").event.into_json().to_string());
            }
        }
        read
    }
}
