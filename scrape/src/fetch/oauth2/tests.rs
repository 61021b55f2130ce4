//! Token servers that answer from a script; what they were asked, and the header that came of it.

use super::*;
use crate::config::Secret;
use crate::testing::{Answer, target};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use std::sync::Arc;

const KEY: &str = include_str!("key.pem");

fn granted(text: &str) -> Answer {
    Answer::typed("application/json", text.as_bytes())
}

fn secret_of(text: &str) -> Secret {
    serde_json::from_value(json!(text)).expect("a secret")
}

async fn tokens(
    answers: Vec<Answer>,
    change: impl FnOnce(&mut OAuth2),
) -> (Tokens, Arc<std::sync::Mutex<Vec<String>>>) {
    let (address, requests) = target(answers).await;
    let mut config = OAuth2 {
        client_id: "me".into(),
        client_secret: secret_of("s e"),
        token_url: format!("http://{address}/token"),
        scopes: vec!["a".into(), "b".into()],
        endpoint_params: [("x".to_owned(), "y".to_owned())].into(),
        ..OAuth2::default()
    };
    change(&mut config);
    (Tokens::new(config).expect("tokens"), requests)
}

async fn header(tokens: &Tokens) -> Result<String, String> {
    let mut headers = HeaderMap::new();
    tokens.authorize(&mut headers).await?;
    Ok(headers[AUTHORIZATION].to_str().expect("text").to_owned())
}

#[tokio::test]
async fn one_token_serves_until_it_ends() {
    let answers = vec![
        granted(r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#),
        granted(r#"{"access_token":"t2"}"#),
    ];
    let (held, requests) = tokens(answers, |_| {}).await;
    assert_eq!(header(&held).await.as_deref(), Ok("Bearer t1"));
    assert_eq!(header(&held).await.as_deref(), Ok("Bearer t1"));
    let asked = requests.lock().expect("lock").clone();
    assert_eq!(asked.len(), 1);
    // me:s+e
    assert!(asked[0].contains("authorization: Basic bWU6cytl"), "{}", asked[0]);
    let answers = vec![
        granted(r#"{"access_token":"t1","expires_in":"5"}"#),
        granted(r#"{"access_token":"t2","token_type":"MAC","expires_in":0}"#),
    ];
    let (short, _) = tokens(answers, |_| {}).await;
    assert_eq!(header(&short).await.as_deref(), Ok("Bearer t1"));
    assert_eq!(header(&short).await.as_deref(), Ok("MAC t2"));
}

#[tokio::test]
async fn credentials_go_into_the_form_where_the_header_is_refused() {
    let refused = Answer::Whole("401 Unauthorized".into(), Vec::new());
    let (held, requests) =
        tokens(vec![refused, granted(r#"{"access_token":"t","expires_in":1}"#)], |_| {}).await;
    assert_eq!(header(&held).await.as_deref(), Ok("Bearer t"));
    assert_eq!(header(&held).await.as_deref(), Ok("Bearer t"));
    let with_header = |request: &&String| request.contains("authorization: ");
    let requests = requests.lock().expect("lock").clone();
    assert_eq!((requests.len(), requests.iter().filter(with_header).count()), (3, 1));
}

#[tokio::test]
async fn failures_are_told_without_secrets() {
    let check = async |answer: Answer, expect: &str| {
        let (held, _) = tokens(vec![answer], |_| {}).await;
        let error = header(&held).await.expect_err(expect);
        assert!(error.starts_with("oauth2: ") && error.contains(expect) && !error.contains("s e"), "{error}");
    };
    check(Answer::Whole("403 Forbidden".into(), Vec::new()), "cannot fetch token: 403 Forbidden").await;
    check(granted("{}"), "cannot parse token answer").await;
    check(granted(r#"{"access_token":""}"#), "server response missing access_token").await;
    check(granted(&"x".repeat(2 << 20)), "has more than").await;
}

#[test]
fn assertions_are_signed() {
    let config = OAuth2 {
        client_id: "me".into(),
        token_url: "http://h/token".into(),
        client_certificate_key_id: "k1".into(),
        scopes: vec!["a".into()],
        claims: [("tenant".to_owned(), json!(5))].into(),
        ..OAuth2::default()
    };
    let text = assertion(&config, KEY, UNIX_EPOCH + Duration::from_secs(1_000)).expect("signed");
    let expect_head = base64(br#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#);
    let claims =
        br#"{"aud":"http://h/token","exp":4590,"iat":990,"iss":"me","scope":"a","sub":"me","tenant":5}"#;
    let signed = format!("{expect_head}.{}", base64(claims));
    assert!(text.starts_with(&format!("{signed}.")), "{text}");
    let der = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let PrivateKeyDer::Pkcs1(der) = der else { panic!("another form") };
    let pair = RsaKeyPair::from_der(der.secret_pkcs1_der()).expect("a key");
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("signs");
    assert_eq!(text, format!("{signed}.{}", base64(&signature)));
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    assert!(public.verify(signed.as_bytes(), &signature).is_ok());
    let broken = assertion(&config, "nonsense", UNIX_EPOCH);
    assert_eq!(broken, Err("client_certificate_key is no RSA key in PEM".into()));
}

#[tokio::test]
async fn an_assertion_is_sent_in_the_place_of_a_secret() {
    let (held, requests) = tokens(vec![granted(r#"{"access_token":"t"}"#)], |config| {
        config.grant_type = JWT_BEARER.into();
        config.client_certificate_key = secret_of(KEY);
    })
    .await;
    assert_eq!(header(&held).await.as_deref(), Ok("Bearer t"));
    assert!(!requests.lock().expect("lock")[0].contains("authorization: "));
}
