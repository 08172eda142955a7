use serde_json::{Value, json};

use crate::support::*;

#[test]
fn registration_asks_for_the_dummy_stage_first() {
    let mut world = World::new();
    let body = json!({"username": "alice", "password": "pw"});
    let (status, challenge) = world.ask_as(None, "POST", "register", body.clone());
    assert_eq!(status, 401);
    assert_eq!(challenge["flows"], json!([{"stages": ["m.login.dummy"]}]));

    let mut body = body;
    body["auth"] = json!({"type": "m.login.dummy", "session": challenge["session"]});
    let answer = expect_ok(world.ask_as(None, "POST", "register", body.clone()));
    assert_eq!(answer["user_id"], "@alice:demo");
    assert_eq!(answer["device_id"], "DEVICE1");
    assert_eq!(answer["access_token"], "demo_token_1");
    let alice = device(&answer);
    let me = world.get(&alice, "account/whoami");
    assert_eq!(me, json!({"user_id": "@alice:demo", "device_id": "DEVICE1", "is_guest": false}));

    let again = world.ask_as(None, "POST", "register", body);
    assert_eq!(refusal(again), refused(400, "M_USER_IN_USE"));
    let odd = json!({"username": "Al ice", "password": "pw"});
    assert_eq!(
        refusal(world.ask_as(None, "POST", "register", odd)),
        refused(400, "M_INVALID_USERNAME")
    );
}

#[test]
fn registration_can_do_without_a_login() {
    let mut world = World::new();
    let body = json!({"username": "bot", "password": "pw", "inhibit_login": true, "auth": {"type": "m.login.dummy"}});
    let answer = expect_ok(world.ask_as(None, "POST", "register", body));
    assert_eq!(answer, json!({"user_id": "@bot:demo", "home_server": "demo"}));
    world.log_in("@bot:demo", json!({}));
}

#[test]
fn tokens_are_missed_when_missing_and_refused_when_wrong() {
    let mut world = World::new();
    assert_eq!(
        refusal(world.ask_as(None, "GET", "sync", Value::Null)),
        refused(401, "M_MISSING_TOKEN")
    );
    let (status, body) = world.ask_as(Some("nope"), "GET", "sync", Value::Null);
    assert_eq!((status, &body["errcode"]), (401, &json!("M_UNKNOWN_TOKEN")));
    assert_eq!(body["soft_logout"], false);
    let unknown = world.ask_as(None, "GET", "no/such/thing", Value::Null);
    assert_eq!(refusal(unknown), refused(404, "M_UNRECOGNIZED"));
}

#[test]
fn signing_in_to_a_device_again_keeps_it_and_voids_its_token() {
    let mut world = World::new();
    let alice = world.register("alice");
    let keys = json!({"user_id": alice.user, "device_id": alice.id, "keys": {}});
    world.post(&alice, "keys/upload", json!({"device_keys": keys, "one_time_keys": {"a:1": "k"}}));

    let again = device(&world.log_in("alice", json!({"device_id": alice.id})));
    assert_eq!(again.id, alice.id);
    assert_eq!(
        world.fails(&alice, "GET", "account/whoami", Value::Null),
        refused(401, "M_UNKNOWN_TOKEN")
    );
    let held = world.post(&again, "keys/query", json!({"device_keys": {&again.user: []}}));
    assert!(held["device_keys"][&again.user][&again.id].is_object());
    assert_eq!(world.sync(&again, "")["device_one_time_keys_count"], json!({"a": 1}));

    let other = device(&world.log_in("alice", json!({"initial_device_display_name": "phone"})));
    assert_ne!(other.id, alice.id);
    assert_eq!(world.get(&again, &format!("devices/{}", other.id))["display_name"], "phone");
}

#[test]
fn logins_need_the_password_in_either_form() {
    let mut world = World::new();
    world.register("alice");
    let old_form = json!({"type": "m.login.password", "user": "alice", "password": "pw"});
    expect_ok(world.ask_as(None, "POST", "login", old_form));
    for (user, password) in [("alice", "no"), ("bob", "pw")] {
        let body = json!({"type": "m.login.password", "user": user, "password": password});
        assert_eq!(refusal(world.ask_as(None, "POST", "login", body)), refused(403, "M_FORBIDDEN"));
    }
    let odd = json!({"type": "m.login.sso"});
    assert_eq!(refusal(world.ask_as(None, "POST", "login", odd)), refused(400, "M_UNKNOWN"));
    let flows = expect_ok(world.ask_as(None, "GET", "login", Value::Null));
    assert_eq!(flows["flows"][0]["type"], "m.login.password");
}

#[test]
fn refreshable_tokens_expire_softly_and_are_refreshed() {
    let mut world = World::new();
    world.register("alice");
    let login = world.log_in("alice", json!({"refresh_token": true}));
    let alice = device(&login);
    assert_eq!(login["expires_in_ms"], 300_000);
    world.now += 299_999;
    world.get(&alice, "account/whoami");
    world.now += 1;
    let (status, body) = world.ask(&alice, "GET", "account/whoami", Value::Null);
    assert_eq!(
        (status, &body["errcode"], &body["soft_logout"]),
        (401, &json!("M_UNKNOWN_TOKEN"), &json!(true))
    );

    let refresh = json!({"refresh_token": login["refresh_token"]});
    let fresh = expect_ok(world.ask_as(None, "POST", "refresh", refresh.clone()));
    // The response may be lost: the old refresh token is good until the new tokens are used.
    let again = expect_ok(world.ask_as(None, "POST", "refresh", refresh.clone()));
    assert_ne!(fresh["access_token"], again["access_token"]);
    let renewed = Device { token: text(&again["access_token"]), ..alice.clone() };
    assert_eq!(world.get(&renewed, "account/whoami")["device_id"], json!(alice.id));
    let (status, spent) = world.ask_as(None, "POST", "refresh", refresh);
    assert_eq!((status, &spent["soft_logout"]), (401, &json!(true)));
    let next = json!({"refresh_token": again["refresh_token"]});
    expect_ok(world.ask_as(None, "POST", "refresh", next));
}

#[test]
fn logging_out_deletes_the_device() {
    let mut world = World::new();
    let alice = world.register("alice");
    let login = world.log_in("alice", json!({"refresh_token": true}));
    let phone = device(&login);
    let keys = json!({"user_id": phone.user, "device_id": phone.id});
    world.post(&phone, "keys/upload", json!({"device_keys": keys}));
    world.post(&phone, "logout", Value::Null);
    assert_eq!(world.fails(&phone, "GET", "devices", Value::Null), refused(401, "M_UNKNOWN_TOKEN"));
    let refresh = json!({"refresh_token": login["refresh_token"]});
    let (status, body) = world.ask_as(None, "POST", "refresh", refresh);
    assert_eq!((status, &body["soft_logout"]), (401, &json!(false)));
    assert_eq!(world.get(&alice, "devices")["devices"].as_array().unwrap().len(), 1);
    let held = world.post(&alice, "keys/query", json!({"device_keys": {&alice.user: []}}));
    assert_eq!(held["device_keys"][&alice.user], json!({}));

    let tablet = device(&world.log_in("alice", json!({})));
    world.post(&tablet, "logout/all", json!({}));
    for gone in [&alice, &tablet] {
        assert_eq!(
            world.fails(gone, "GET", "devices", Value::Null),
            refused(401, "M_UNKNOWN_TOKEN")
        );
    }
}

#[test]
fn deleting_devices_takes_the_password() {
    let mut world = World::new();
    let alice = world.register("alice");
    let phone = device(&world.log_in("alice", json!({})));
    let path = format!("devices/{}", phone.id);
    world.put(&alice, &path, json!({"display_name": "old phone"}));
    assert_eq!(world.get(&alice, &path)["display_name"], "old phone");

    let (status, challenge) = world.ask(&alice, "DELETE", &path, Value::Null);
    assert_eq!(status, 401);
    assert_eq!(challenge["flows"], json!([{"stages": ["m.login.password"]}]));
    assert!(challenge.get("errcode").is_none());
    let auth = |password: &str| {
        json!({
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": password,
            "session": challenge["session"],
        })
    };
    let (status, wrong) = world.ask(&alice, "DELETE", &path, json!({"auth": auth("no")}));
    assert_eq!((status, &wrong["errcode"]), (401, &json!("M_FORBIDDEN")));
    assert_eq!(wrong["session"], challenge["session"]);
    expect_ok(world.ask(&alice, "DELETE", &path, json!({"auth": auth("pw")})));
    expect_ok(world.ask(&alice, "DELETE", &path, json!({"auth": auth("pw")})));
    assert_eq!(world.fails(&alice, "GET", &path, Value::Null), refused(404, "M_NOT_FOUND"));
    assert_eq!(world.fails(&phone, "GET", "devices", Value::Null), refused(401, "M_UNKNOWN_TOKEN"));

    let more: Vec<Device> = (0..2).map(|_| device(&world.log_in("alice", json!({})))).collect();
    let ids: Vec<&str> = more.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(world.ask(&alice, "POST", "delete_devices", json!({"devices": ids})).0, 401);
    world.post(&alice, "delete_devices", json!({"devices": ids, "auth": auth("pw")}));
    assert_eq!(world.get(&alice, "devices")["devices"].as_array().unwrap().len(), 1);
}

#[test]
fn public_answers_need_no_token() {
    let mut world = World::new();
    let (_, versions) = world.raw(None, "GET", "/_matrix/client/versions", b"");
    assert!(versions["versions"].as_array().unwrap().contains(&json!("v1.15")));
    let known = world.raw(None, "GET", "/.well-known/matrix/client", b"");
    assert_eq!(refusal(known), refused(404, "M_NOT_FOUND"));
}
