//! Anonymous tokens. A registry answers 401 with the address of a service that gives a token for the request.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use http_auth::ChallengeParser;
use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::attempt::{Attempt, Retry, UNAUTHORIZED, broken, call, failed, unsuccessful};

/// The limit for an answer with a token.
const MAX_TOKEN: u64 = 1 << 20;

/// The tokens that services gave.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<Challenge, String>>);

/// What a 401 asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Challenge {
    /// The URL of the service.
    realm: String,
    service: Option<String>,
    /// As `repository:cilium/ci-kernels:pull`.
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    /// The challenge of a response; none if it asks for something other than a token.
    pub(super) fn of(response: &Response<Body>) -> Option<Self> {
        if response.status() != UNAUTHORIZED {
            return None;
        }
        let header = response.headers().get("www-authenticate")?.to_str().ok()?;
        Self::parse(header)
    }

    fn parse(header: &str) -> Option<Self> {
        let bearer = ChallengeParser::new(header)
            .map_while(Result::ok)
            .find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))?;
        let param = |name: &str| {
            let mut params = bearer.params.iter();
            let (_, value) = params.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(value.to_unescaped())
        };
        Some(Self {
            realm: param("realm")?,
            service: param("service"),
            scope: param("scope"),
        })
    }
}

impl Tokens {
    /// The token that a service gave earlier.
    pub(super) fn known(&self, challenge: &Challenge) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(challenge).cloned()
    }

    /// A new token for a request of `url`.
    pub(super) fn get(
        &self,
        agent: &Agent,
        url: &str,
        challenge: Challenge,
    ) -> Result<String, Attempt> {
        let realm = &challenge.realm;
        let plain = realm.starts_with("http://");
        if !(realm.starts_with("https://") || plain && url.starts_with("http://")) {
            let reason = format!("it sends us to {realm:?} for a token, which is not HTTPS");
            return Err(failed(url, reason, Retry::No));
        }
        let mut request = agent.get(realm);
        for (name, value) in [("service", &challenge.service), ("scope", &challenge.scope)] {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        let response = call(realm, request)?;
        if !response.status().is_success() {
            return Err(unsuccessful(realm, &response));
        }
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader().take(MAX_TOKEN);
        body.read_to_end(&mut bytes)
            .map_err(|error| broken(realm, &error))?;
        let token = serde_json::from_slice(&bytes)
            .ok()
            .and_then(|answer: Answer| answer.token.or(answer.access_token));
        let Some(token) = token else {
            let reason = "the answer has no token".to_owned();
            return Err(failed(realm, reason, Retry::No));
        };
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(challenge, token.clone());
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_registries() {
        let challenge = Challenge::parse(
            "Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\",scope=\"repository:cilium/ci-kernels:pull,push\"",
        );
        let expected = Challenge {
            realm: "https://ghcr.io/token".into(),
            service: Some("ghcr.io".into()),
            scope: Some("repository:cilium/ci-kernels:pull,push".into()),
        };
        assert_eq!(challenge, Some(expected));
        let second = Challenge::parse("Basic realm=\"x\", bearer realm=\"https://y\"").unwrap();
        assert_eq!((&*second.realm, second.scope), ("https://y", None));
        for other in [
            "",
            "Basic realm=\"x\"",
            "Bearer service=\"x\"",
            "Bearer realm=\"x",
        ] {
            assert_eq!(Challenge::parse(other), None, "{other}");
        }
    }
}
