//! Tests of the host and the transport that are used: redirects, tokens, servers without
//! server-sent events.

use super::*;

/// Tests every status that could redirect: the token stays with the instance.
#[test]
fn a_redirect_never_takes_the_token_to_another_host() {
    for status in [300, 301, 302, 303, 305, 307, 308, 399] {
        run(async {
            let (instance, elsewhere) = (Instance::new().await, Instance::new().await);
            let config = config(&instance, &["#storm"]);
            let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
            let location = format!("location: {}/api/v1/streaming\r\n", elsewhere.address());
            instance.answer("/api/v1/streaming", status, &location, "");
            beside(&config, &instance, &feed, async {
                until(|| feed.state().contains("which the token must not follow")).await;
            })
            .await;
            assert!(elsewhere.asked.borrow().is_empty(), "{status}");
        });
    }
}

#[test]
fn a_redirect_within_the_instance_is_taken() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let location = format!("location: {}/api/v1/streaming\r\n", instance.address());
        instance.answer("/api/v1/streaming", 301, &location, "");
        beside(&config, &instance, &feed, async {
            until(|| instance.asked_for("/api").len() >= 3).await;
        })
        .await;
        let asked = instance.asked_for("/api");
        assert_eq!(
            asked[..3],
            ["/api/v2/instance", "/api/v1/streaming", "/api/v1/streaming/hashtag?tag=storm"]
        );
    });
}

#[test]
fn a_stream_that_redirects_elsewhere_is_not_followed() {
    run(async {
        let (instance, elsewhere) = (Instance::new().await, Instance::new().await);
        let config = config(&instance, &["#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let location = format!("location: {}/api/v1/streaming/hashtag\r\n", elsewhere.address());
        instance.answer("/api/v1/streaming/", 302, &location, "");
        beside(&config, &instance, &feed, async {
            until(|| feed.state().contains("302")).await;
        })
        .await;
        assert!(elsewhere.asked.borrow().is_empty());
    });
}

#[test]
fn a_token_without_a_user_stops_it_with_which_one_is_needed() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let body = r#"{"error":"This method requires an authenticated user"}"#;
        instance.answer("/api/v1/streaming/", 422, "", body);
        let mut source = Platform::source(&config).unwrap();
        let serving = std::pin::pin!(instance.serve());
        let ended = futures_util::future::select(source.run(&feed.feed), serving).await;
        let futures_util::future::Either::Left((ended, _)) = ended else { panic!("it went on") };
        let error = ended.unwrap_err().chain();
        assert!(
            error.contains("422")
                && error.contains("token of a user")
                && error.contains("read:statuses"),
            "{error}"
        );
    });
}

#[test]
fn a_server_without_server_sent_events_is_read_by_websocket() {
    use futures_util::SinkExt;
    use tokio::io::AsyncReadExt;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    run(async {
        let instance = Instance::new().await;
        let streaming = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(&instance, &["#größe"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let named = format!("ws://{}", streaming.local_addr().unwrap());
        for _ in 0..2 {
            instance.answer(
                "/api/v2/instance",
                200,
                "",
                json!({ "configuration": { "urls": { "streaming": named } } }),
            );
        }
        let asked = RefCell::new(String::new());
        beside(&config, &instance, &feed, async {
            let (mut events, _) = streaming.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = events.read(&mut request).await.unwrap();
            assert!(request.starts_with(b"GET /api/v1/streaming/hashtag?tag="));
            events.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            let (stream, _) = streaming.accept().await.unwrap();
            #[allow(clippy::result_large_err, reason = "the signature is the library's")]
            let note = |request: &Request, response: Response| {
                *asked.borrow_mut() = request.uri().to_string();
                Ok(response)
            };
            let mut client = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
            let event = json!({ "stream": ["hashtag"], "event": "update", "payload": status(NOW, 1).to_string() });
            client.send(Message::text(event.to_string())).await.unwrap();
            let deleted = json!({ "stream": ["hashtag"], "event": "delete", "payload": "17" });
            client.send(Message::text(deleted.to_string())).await.unwrap();
            until(|| feed.bodies("delete").len() == 1).await;
        })
        .await;
        assert_eq!(asked.borrow().as_str(), "/api/v1/streaming?stream=hashtag&tag=gr%C3%B6%C3%9Fe");
        assert!(
            feed.messages().iter().any(|said| said.contains("WebSocket")),
            "{:?}",
            feed.messages()
        );
        assert_eq!(feed.bodies("delete")[0]["instance"], config.instance.as_str());
    });
}
