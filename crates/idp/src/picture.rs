//! The picture of a user who brought none: Gravatar's for the e-mail address, and two letters where Gravatar has none.

use md5::{Digest, Md5};

use crate::model::{User, fold};

/// Auth0's URL. Gravatar knows people by the MD5 of the address in lower case; it protects nothing.
pub(crate) fn of(user: &User) -> Option<String> {
    let name = fold(user.email.as_deref().or(user.username.as_deref())?);
    let mut digest = String::new();
    for byte in Md5::digest(name.as_bytes()) {
        digest.push_str(&format!("{byte:02x}"));
    }
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).take(2).collect();
    let letters = if letters.is_empty() { "default" } else { letters.as_str() };
    let initials = format!("https%3A%2F%2Fcdn.auth0.com%2Favatars%2F{letters}.png");
    Some(format!("https://s.gravatar.com/avatar/{digest}?s=480&r=pg&d={initials}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_gravatars_by_the_address_in_lower_case() {
        let user = User { email: Some(" Test@Test.com".to_owned()), ..User::default() };
        assert_eq!(
            of(&user).unwrap(),
            "https://s.gravatar.com/avatar/b642b4217b34b1e8d3bd915fc65c4452?s=480&r=pg\
             &d=https%3A%2F%2Fcdn.auth0.com%2Favatars%2Fte.png"
        );
        assert_eq!(of(&User::default()), None);
    }
}
