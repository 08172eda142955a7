use serde_json::{Value, json};

use crate::support::*;

#[test]
fn account_data_is_stored_and_delivered() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.create_room(&alice, json!({}));
    let path = format!("user/{}/account_data/m.secret_storage.default_key", alice.user);
    assert_eq!(world.fails(&alice, "GET", &path, Value::Null), refused(404, "M_NOT_FOUND"));
    let since = world.token(&alice);

    world.put(&alice, &path, json!({"key": "x"}));
    let in_room = format!("user/{}/rooms/{room}/account_data/m.tag", alice.user);
    world.put(&alice, &in_room, json!({"tags": {}}));
    assert_eq!(world.get(&alice, &path), json!({"key": "x"}));
    assert_eq!(world.get(&alice, &in_room), json!({"tags": {}}));

    let sync = world.sync_since(&alice, &since);
    let global = json!([{"type": "m.secret_storage.default_key", "content": {"key": "x"}}]);
    assert_eq!(sync["account_data"]["events"], global);
    let of_room = &sync["rooms"]["join"][&room]["account_data"]["events"];
    assert_eq!(*of_room, json!([{"type": "m.tag", "content": {"tags": {}}}]));
    let later = world.sync_since(&alice, &next_batch(&sync));
    assert_eq!(later["account_data"]["events"], json!([]));
    assert_eq!(later["rooms"]["join"], json!({}));
    assert_eq!(world.sync(&alice, "")["account_data"]["events"], global);
    let alone = world.sync(&alice, "&filter=%7B%22room%22:%7B%22rooms%22:[]%7D%7D");
    assert_eq!(alone["account_data"]["events"], global);
    assert_eq!(alone["rooms"]["join"], json!({}));

    assert_eq!(world.fails(&bob, "GET", &path, Value::Null), refused(403, "M_FORBIDDEN"));
    assert_eq!(world.fails(&bob, "PUT", &path, json!({})), refused(403, "M_FORBIDDEN"));
    let reserved = format!("user/{}/account_data/m.push_rules", alice.user);
    assert_eq!(world.fails(&alice, "PUT", &reserved, json!({})), refused(405, "M_BAD_JSON"));
    assert_eq!(world.fails(&alice, "PUT", &path, json!([])), refused(400, "M_BAD_JSON"));
}

#[test]
fn filters_are_kept_for_their_owner() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let filter = json!({"room": {"timeline": {"limit": 1}}});
    let path = format!("user/{}/filter", alice.user);
    let id = text(&world.post(&alice, &path, filter.clone())["filter_id"]);
    assert_eq!(world.get(&alice, &format!("{path}/{id}")), filter);
    assert_eq!(world.fails(&bob, "POST", &path, filter), refused(403, "M_FORBIDDEN"));

    let room = world.create_room(&alice, json!({}));
    let sync = world.sync(&alice, &format!("&filter={id}"));
    assert_eq!(timeline(&sync, "join", &room).len(), 1);
    let unknown = world.fails(&alice, "GET", "sync?filter=77", Value::Null);
    assert_eq!(unknown, refused(400, "M_INVALID_PARAM"));
    let broken = world.fails(&alice, "GET", "sync?filter={", Value::Null);
    assert_eq!(broken, refused(400, "M_INVALID_PARAM"));
}

#[test]
fn profiles_show_in_membership_events() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    assert_eq!(
        world.get(&bob, &format!("profile/{}", alice.user)),
        json!({"displayname": "alice"})
    );
    let room = world.room_of(&[&alice, &bob], json!({}));
    let since = world.token(&bob);
    let path = format!("profile/{}/displayname", alice.user);
    world.put(&alice, &path, json!({"displayname": "Alice"}));
    assert_eq!(world.get(&bob, &path), json!({"displayname": "Alice"}));
    let sync = world.sync_since(&bob, &since);
    let event = &sync["rooms"]["join"][&room]["timeline"]["events"][0];
    assert_eq!(event["content"], json!({"membership": "join", "displayname": "Alice"}));
    assert_eq!(event["unsigned"]["prev_content"]["displayname"], "alice");
    assert_eq!(
        world.fails(&bob, "PUT", &path, json!({"displayname": "x"})),
        refused(403, "M_FORBIDDEN")
    );
    assert_eq!(
        world.fails(&bob, "GET", "profile/@no:demo", Value::Null),
        refused(404, "M_NOT_FOUND")
    );
}
