//! The workloads, each in a process of its own. The names are those of bench/workloads.R.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
    process,
};

use matrix_sdk_crypto::{
    AttachmentDecryptor, AttachmentEncryptor, DeviceData, OlmMachine, decrypt_room_key_export,
    encrypt_room_key_export, types::DeviceKeys,
};
use ruma::OwnedUserId;

use crate::{
    device::{Sync, copy_dir, open, wait},
    meter::measure,
    share::{
        claim, content, devices, encrypt, query_answers, receive_devices, room, send, share_key,
    },
};

const EVENTS: usize = 10_000;
const SHARED_WITH: usize = 1_000;
/// A single message is too short to be measured alone.
const SINGLES: usize = 100;
/// Fewer of these: each looks through all devices of the room.
const NEXT: usize = 10;
const PASSPHRASE: &str = "correct horse";
const ROUNDS: u32 = 500_000;
const PIECE: usize = 1 << 16;

/// A copy of a store to work on, on the same disk as the fixtures.
struct Work {
    dir: PathBuf,
}

impl Work {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.join(format!("work-{}", process::id())) }
    }

    fn open(&self, fixtures: &Path, store: &str) -> OlmMachine {
        let copy = self.dir.join(store);
        copy_dir(&fixtures.join(store), &copy);
        wait(open(&copy))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn run(workload: &str, dir: &Path) {
    let work = Work::new(dir);
    let store = |name: &str| work.open(dir, name);
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("run the fixtures first");
    match workload.split_once('-').unwrap_or((workload, "")) {
        ("w1", "events") => encrypt_events(workload, &store("store_0")),
        ("w2", "one") => receive(workload, &store("store_1000"), &read("one_1.json"), EVENTS),
        ("w2", "thousand") => {
            receive(workload, &store("store_1000"), &read("thousand_1.json"), EVENTS);
        }
        ("w3", "") => share(&store("store_0"), dir, &read("claim.json")),
        ("w4", size) => {
            let text = read(&format!("crowd_{size}.json"));
            receive("w4-crowd", &store("store_0"), &text, size.parse().expect("a number"));
        }
        ("w5", size) => singles(&store(&format!("store_{size}")), &read("singles.jsonl")),
        ("w6", size) => {
            export(&store(&format!("store_{size}")), &store("store_0"), &dir.join("w6-export"));
        }
        ("w7", "verify") => verify(workload, &read("device_keys.jsonl")),
        ("w8", "") => attachment(dir),
        _ => panic!("there is no workload {workload}"),
    }
}

fn encrypt_events(workload: &str, machine: &OlmMachine) {
    wait(share_key(machine, &[]));
    let contents = vec![content(); EVENTS];
    let bodies: Vec<String> = measure(workload, 1, || {
        wait(async {
            let mut bodies = Vec::new();
            for content in &contents {
                bodies.push(encrypt(machine, content).await);
            }
            bodies
        })
    });
    assert_eq!(bodies.len(), EVENTS);
}

/// A sync answer in, its events out.
fn receive(workload: &str, machine: &OlmMachine, text: &str, events: usize) {
    let read = measure(workload, 1, || wait(Sync::parse(text).receive(machine)));
    assert_eq!(read.len(), events);
}

fn share(machine: &OlmMachine, dir: &Path, claimed: &str) {
    let devices = devices(dir, SHARED_WITH);
    let names: Vec<OwnedUserId> = devices.keys().cloned().collect();
    let track = machine.update_tracked_users(names.iter().map(AsRef::as_ref));
    wait(track).expect("tracked");
    let answers = wait(query_answers(machine, &devices));
    let requests = measure("w3-share", 1, || {
        wait(async {
            receive_devices(machine, &answers).await;
            claim(machine, &names, claimed).await;
            send(machine, &names).await
        })
    });
    assert!(requests.len() > 1);
    wait(machine.discard_room_key(room())).expect("discarded");
    let requests = measure("w3-again", 1, || wait(send(machine, &names)));
    assert!(requests.len() > 1);
    measure("w3-next", NEXT, || {
        for _ in 0..NEXT {
            assert_eq!(wait(send(machine, &names)).len(), 1);
        }
    });
}

fn singles(machine: &OlmMachine, lines: &str) {
    wait(send(machine, &[]));
    measure("w5-send", SINGLES, || {
        for _ in 0..SINGLES {
            assert_eq!(wait(send(machine, &[])).len(), 1);
        }
    });
    let mut answers = lines.lines();
    let mut receive = || {
        let answer = answers.next().expect("an answer");
        assert_eq!(wait(Sync::parse(answer).receive(machine)).len(), 1);
    };
    receive();
    measure("w5-receive", SINGLES, || (0..SINGLES).for_each(|_| receive()));
}

/// A file out, and in again at a device that has none of the keys.
fn export(machine: &OlmMachine, late: &OlmMachine, file: &Path) {
    let exported = measure("w6-export", 1, || {
        let keys = wait(machine.store().export_room_keys(|_| true)).expect("keys");
        let text = encrypt_room_key_export(&keys, PASSPHRASE, ROUNDS).expect("a file");
        fs::write(file, text).expect("written");
        keys.len()
    });
    let imported = measure("w6-import", 1, || {
        let file = File::open(file).expect("a file");
        let keys = decrypt_room_key_export(file, PASSPHRASE).expect("keys");
        wait(late.store().import_exported_room_keys(keys, |_, _| {})).expect("imported")
    });
    assert_eq!(imported.imported_count, exported);
    fs::remove_file(file).expect("removed");
}

/// The primitive alone, as the package's: the store would flush for each of these users.
fn verify(workload: &str, lines: &str) {
    let texts: Vec<&str> = lines.lines().take(EVENTS).collect();
    let verified: Vec<DeviceData> = measure(workload, 1, || {
        let verify = |text: &&str| {
            let keys: DeviceKeys = serde_json::from_str(text).expect("device keys");
            DeviceData::try_from(&keys).expect("it holds")
        };
        texts.iter().map(verify).collect()
    });
    assert_eq!(verified.len(), EVENTS);
}

fn attachment(dir: &Path) {
    let (plain, sealed, opened) = (dir.join("file"), dir.join("w8-sealed"), dir.join("w8-opened"));
    let key = measure("w8-encrypt", 1, || {
        let mut plain = BufReader::with_capacity(PIECE, File::open(&plain).expect("a file"));
        let mut encryptor = AttachmentEncryptor::new(&mut plain);
        copy(&mut encryptor, &sealed);
        encryptor.finish()
    });
    measure("w8-decrypt", 1, || {
        let mut sealed = BufReader::with_capacity(PIECE, File::open(&sealed).expect("a file"));
        copy(&mut AttachmentDecryptor::new(&mut sealed, key).expect("a key"), &opened);
    });
    for path in [&sealed, &opened] {
        fs::remove_file(path).expect("removed");
    }
}

fn copy(from: &mut impl Read, to: &Path) {
    let mut to = File::create(to).expect("a file");
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => to.write_all(&piece[..read]).expect("written"),
            Err(error) => panic!("{error}"),
        }
    }
}
