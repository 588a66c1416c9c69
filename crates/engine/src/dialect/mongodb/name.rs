//! Names of users: MongoDB calls the holder of a certificate by the certificate's subject, as RFC 2253 text.
//!
//! The subject of our certificates is a CN and nothing else. A name that is not rendered exactly as the server
//! renders it belongs to a user who can never log in.
//!
//! Before MongoDB 7.0 no name of ours is taken for a member of the server's cluster: members know each other by an O,
//! OU or DC in their subjects. From 7.0 on `net.tls.clusterAuthX509` can identify them by a CN. The server makes no
//! user of such a subject, but lets whoever holds its certificate in as a member where the cluster's CA has signed it.

use crate::AccountName;

/// Characters that are escaped at any position.
const SPECIAL: [char; 7] = [',', '+', '"', '\\', '<', '>', ';'];

/// The user of an account, in `$external`: `CN=alice`, `CN=a\,b`, `CN=\C3\A4`.
pub fn user_name(account: &AccountName) -> String {
    user_name_of(account.as_str())
}

/// The account of a user in `$external`; `None` for a user that no account of ours can be.
pub fn account_name(user: &str) -> Option<AccountName> {
    let account = AccountName::new(unescaped(user.strip_prefix("CN=")?)?).ok()?;
    // The same name written in another way is another user.
    (user_name(&account) == user).then_some(account)
}

/// Why no certificate can make somebody the user of this name.
///
/// The server prepares a certificate's subject as RFC 4013 (SASLprep) says before it looks the user up: it refuses the
/// connection where the text contains what Unicode 3.2 does not know, and turns compatible characters into each other.
/// Who is called `o\u{fb00}ice` would be let in as `office`, who may be somebody else.
pub fn name_fault(name: &str) -> Option<String> {
    match stringprep::saslprep(name) {
        Ok(prepared) if prepared == name => None,
        Ok(prepared) => Some(format!("MongoDB would take it for {prepared:?}")),
        Err(_) => Some("MongoDB accepts no certificate with such characters".to_owned()),
    }
}

/// The user of any name, also of the admin user.
pub fn user_name_of(name: &str) -> String {
    let mut text = String::from("CN=");
    let start = text.len();
    for (index, character) in name.char_indices() {
        if !character.is_ascii() {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                text.push_str(&format!("\\{byte:02X}"));
            }
            continue;
        }
        let at_the_front = index == 0 && matches!(character, ' ' | '#');
        if at_the_front || SPECIAL.contains(&character) {
            text.push('\\');
        }
        text.push(character);
    }
    // A space at the end, as the server does it: not where it would be the second character of the text.
    if text.ends_with(' ') && text.len() - start > 2 {
        text.pop();
        text.push_str("\\ ");
    }
    text
}

/// The value of which this is the escaped text.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let first = rest.next()?;
        if SPECIAL.contains(&char::from(first)) || matches!(first, b' ' | b'#') {
            bytes.push(first);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(first)? * 16 + digit(rest.next()?)?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_escaped_as_the_server_does() {
        for (name, user) in [
            ("alice", "CN=alice"),
            ("alice@example.com", "CN=alice@example.com"),
            ("a,b", r"CN=a\,b"),
            ("a+b=c", r"CN=a\+b=c"),
            (r#"say "hi""#, r#"CN=say \"hi\""#),
            ("<a>;", r"CN=\<a\>\;"),
            ("#1 #2", r"CN=\#1 #2"),
            (" both ", r"CN=\ both\ "),
            (r"back\slash", r"CN=back\\slash"),
            ("ä", r"CN=\C3\A4"),
            ("CN=x", "CN=CN=x"),
        ] {
            let account = AccountName::new(name).unwrap();
            assert_eq!(user_name(&account), user);
            assert_eq!(account_name(user), Some(account), "{user}");
        }
    }

    #[test]
    fn other_users_are_no_accounts() {
        for user in
            ["alice", "CN=", "CN=a,O=b", r"CN=a\", r"CN=a\4", r"CN=\61", r"CN=\c3\a4", r"CN=\FF", "CN=ä"]
        {
            assert_eq!(account_name(user), None, "{user}");
        }
    }

    #[test]
    fn names_that_the_server_reads_as_others_are_refused() {
        for name in ["alice", "a,b", " a ", "ünïcödé", "日本", "ÿ"] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in ["o\u{fb00}ice", "e\u{301}", "a\u{a0}b", "a\u{ad}b", "\u{200d}", "🦀", "\u{ffff}", "Ⅳ"]
        {
            assert!(name_fault(name).is_some(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "[ -~äß🦀]{1,15}") {
            if let Ok(account) = AccountName::new(name) {
                prop_assert_eq!(account_name(&user_name(&account)), Some(account));
            }
        }

        #[test]
        fn no_two_accounts_are_one_user(one in "[ #,a\\\\]{1,6}", two in "[ #,a\\\\]{1,6}") {
            let (Ok(a), Ok(b)) = (AccountName::new(&*one), AccountName::new(&*two)) else { return Ok(()) };
            prop_assert_eq!(user_name(&a) == user_name(&b), one == two);
        }
    }
}
