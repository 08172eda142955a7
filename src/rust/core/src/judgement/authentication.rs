//! The response of a server that wants the user to authenticate.
//!
//! Specification: client-server API, "User-Interactive Authentication API".

use super::identifier::is_sound;
use crate::primitives::canonical_json::{Json, Object};

/// Stages that are done in a browser, on a page of the server's choice. The second is the name of
/// the first in MSC4312, which servers offer beside it.
const OWN_PAGE: [&str; 2] = ["m.oauth", "org.matrix.cross_signing_reset"];
const LONGEST_URL: usize = 2048;

/// A demand for authentication.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What the server knows the attempt by.
    pub session: Option<String>,
    /// What is still to be done, in this order. Empty when the server offers no flow.
    pub stages: Vec<String>,
    /// Where the first of them is done, if it is done in a browser.
    pub page: Page,
}

/// A page on which a stage is done.
#[derive(Debug, PartialEq, Eq)]
pub enum Page {
    /// The one the specification names for every stage ("Fallback").
    Fallback,
    /// One of the server's choice, with an address that can be shown.
    Web(String),
    /// What the server chose is not to be opened.
    Refused,
}

/// Reads the body of a response with status 401; none when it does not demand authentication. The
/// flow that is followed is the first of which the caller is `able` to do each stage, else the
/// first.
pub fn challenge(body: &[u8], able: &[String]) -> Option<Challenge> {
    let body = Json::parse_object(std::str::from_utf8(body).ok()?).ok()?;
    let offered = body.get("flows")?.as_array()?;
    let completed = body.get("completed").and_then(texts).unwrap_or_default();
    let flows: Vec<Vec<String>> = offered
        .iter()
        .filter_map(|flow| texts(flow.as_object()?.get("stages")?))
        .map(|stages| stages.into_iter().filter(|stage| !completed.contains(stage)).collect())
        .filter(|stages: &Vec<String>| !stages.is_empty())
        .collect();
    let stages = flows
        .iter()
        .find(|stages| stages.iter().all(|stage| able.contains(stage)))
        .or(flows.first())
        .cloned()
        .unwrap_or_default();
    let session = body.get("session").and_then(Json::as_str);
    Some(Challenge {
        session: session.filter(|session| is_printable(session)).map(str::to_owned),
        page: stages.first().map_or(Page::Fallback, |stage| page(&body, stage)),
        stages,
    })
}

/// All of them names, or none: a flow is not followed in part.
fn texts(list: &Json) -> Option<Vec<String>> {
    let name = |item: &Json| item.as_str().filter(|name| is_sound(name)).map(str::to_owned);
    list.as_array()?.iter().map(name).collect()
}

fn page(body: &Object, stage: &str) -> Page {
    if !OWN_PAGE.contains(&stage) {
        return Page::Fallback;
    }
    let params = body.get("params").and_then(Json::as_object);
    let of_stage = params.and_then(|params| params.get(stage)).and_then(Json::as_object);
    let url = of_stage.and_then(|params| params.get("url")).and_then(Json::as_str);
    url.filter(|url| is_web_address(url)).map_or(Page::Refused, |url| Page::Web(url.into()))
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Whether `url` is an address of the web that can be shown as it is: people are told to open it.
fn is_web_address(url: &str) -> bool {
    // RFC 3986. Others hide what is opened, or mean something to a terminal.
    let is_of_url =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    url.len() <= LONGEST_URL
        && url.bytes().all(is_of_url)
        // `https://homeserver.example@evil.example` looks like what it is not.
        && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Challenge {
        challenge(text.as_bytes(), &["m.login.dummy".into(), "m.login.password".into()]).unwrap()
    }

    fn stages(text: &str) -> Vec<String> {
        read(text).stages
    }

    #[test]
    fn what_is_no_demand_is_none() {
        assert_eq!(challenge(b"{\"flows\":[],\"x\":\"\xff\"}", &[]), None);
        for text in
            ["", "[]", "{}", r#"{"flows":5}"#, r#"{"flows":{"a":1}}"#, r#"{"errcode":"M_X"}"#]
        {
            assert_eq!(challenge(text.as_bytes(), &[]), None, "{text}");
        }
    }

    #[test]
    fn a_flow_that_can_be_done_is_preferred() {
        let flows = r#""flows":[{"stages":["m.login.sso"]},{"stages":["m.login.password","m.login.dummy"]}]"#;
        assert_eq!(stages(&format!("{{{flows}}}")), ["m.login.password", "m.login.dummy"]);
        assert_eq!(
            challenge(format!("{{{flows}}}").as_bytes(), &[]).unwrap().stages,
            ["m.login.sso"]
        );
        let done = format!(r#"{{{flows},"completed":["m.login.password"]}}"#);
        assert_eq!(stages(&done), ["m.login.dummy"]);
    }

    #[test]
    fn flows_that_make_no_sense_are_not_followed() {
        for flow in [
            "5",
            "{}",
            "[]",
            r#"{"stages":5}"#,
            r#"{"stages":[]}"#,
            r#"{"stages":"m.login.dummy"}"#,
            r#"{"stages":{"a":"m.login.dummy"}}"#,
            r#"{"stages":["m.login.dummy",5]}"#,
            r#"{"stages":[["m.login.dummy"]]}"#,
            r#"{"stages":["m.login\u001b[2J"]}"#,
        ] {
            assert!(stages(&format!(r#"{{"flows":[{flow}]}}"#)).is_empty(), "{flow}");
            let two = format!(r#"{{"flows":[{flow},{{"stages":["m.login.sso"]}}]}}"#);
            assert_eq!(stages(&two), ["m.login.sso"], "{flow}");
        }
        let all_done = r#"{"flows":[{"stages":["a"]}],"completed":["a"]}"#;
        assert!(stages(all_done).is_empty());
        assert_eq!(stages(r#"{"flows":[{"stages":["a"]}],"completed":["a",5]}"#), ["a"]);
    }

    #[test]
    fn a_session_is_text() {
        let session =
            |session: &str| read(&format!(r#"{{"flows":[],"session":{session}}}"#)).session;
        assert_eq!(session(r#""x y""#).as_deref(), Some("x y"));
        for odd in ["5", "null", "[]", r#""""#, r#""a\u0000b""#] {
            assert_eq!(session(odd), None, "{odd}");
        }
    }

    fn page_of(stage: &str, params: &str) -> Page {
        read(&format!(r#"{{"flows":[{{"stages":["{stage}"]}}],"params":{params}}}"#)).page
    }

    #[test]
    fn only_an_address_of_the_web_is_a_page() {
        let page = |url: &str| {
            let url = Json::String(url.into()).text().unwrap();
            page_of("m.oauth", &format!(r#"{{"m.oauth":{{"url":{url}}}}}"#))
        };
        for url in ["https://a.example/b?c=d&e=%20#f", "http://localhost:8008/", "https://[::1]/x"]
        {
            assert_eq!(page(url), Page::Web(url.into()));
        }
        for url in [
            "",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "//a.example",
            "https://",
            "https:///x",
            "https://?x",
            "https://here.example@there.example/",
            "https://here.example\\@there.example/",
            "https://a.example/\u{1b}[2J",
            "https://a.example/\nhttps://b.example",
            "https://a.example/ b",
            "https://a.example/\u{202e}b",
            "https://a.example/`x`",
            "https://a.example/\"x",
            &format!("https://a.example/{}", "x".repeat(LONGEST_URL)),
        ] {
            assert_eq!(page(url), Page::Refused, "{url:?}");
        }
        for params in
            ["{}", "5", r#"{"m.oauth":5}"#, r#"{"m.oauth":{"url":5}}"#, r#"{"m.oauth":{}}"#]
        {
            assert_eq!(page_of("m.oauth", params), Page::Refused, "{params}");
        }
        // Other stages have no say in where they are done.
        assert_eq!(
            page_of("m.login.sso", r#"{"m.login.sso":{"url":"https://b.example"}}"#),
            Page::Fallback
        );
    }
}
