//! UCL that is understood, UCL that is not, and what a change leaves as it was.

use super::*;

fn parse(text: &str) -> Document {
    Document::parse(text.as_bytes().to_vec()).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let found = parse(text);
    found.keys().into_iter().map(|key| (key.clone(), found.get(&key).unwrap_or_else(|| "-".into()))).collect()
}

#[track_caller]
fn holds(text: &str, expected: &[(&str, &str)]) {
    let found = pairs(text);
    let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn what_managers_write_and_people_edit_is_understood() {
    holds("", &[]);
    holds("# nothing\n/* at /* all */ */ \n", &[]);
    holds(
        "a = 1;\nb: two\nc three;\nd=\"x; # y\"",
        &[("a", "1"), ("b", "two"), ("c", "three"), ("d", "x; # y")],
    );
    holds("{ \"a\": \"b\", \"c\": 10k, }", &[("a", "b"), ("c", "10k")]);
    holds("a = yes # why\nb = 1.5Mb/* since */;c = -3", &[("a", "yes"), ("b", "1.5Mb"), ("c", "-3")]);
    holds("s { a = 1; t { b = 2 } }\nd = 4", &[("s.a", "1"), ("s.t.b", "2"), ("d", "4")]);
    holds("s one { a = 1 } s2 \"two.x\" {}\nb 2", &[("s.one.a", "1"), ("b", "2")]);
    holds("a = 1\na = 2\na: [3, \"4\"];", &[("a", "1,2,3,4")]);
    holds("a = []\nb = [ 1\n 2 # c\n, ]\nn = null", &[("a", ""), ("b", "1,2"), ("n", "-")]);
    holds("user.comment = x\n/path = y\n9 = z", &[("user.comment", "x"), ("/path", "y"), ("9", "z")]);
    holds(
        "a = \"\\\"\\\\\\n\\u00fc\\/\"; b = 'it is \"so\"'",
        &[("a", "\"\\\n\u{fc}/"), ("b", "it is \"so\"")],
    );
    holds(
        "exec_start = /bin/sh /etc/rc\r\nip4_addr: em0|192.0.2.1/24 ;",
        &[("exec_start", "/bin/sh /etc/rc"), ("ip4_addr", "em0|192.0.2.1/24")],
    );
    holds("\u{feff}a = $HOME ü;", &[("a", "$HOME ü")]);
    holds("/* \"*/\" { */ a = 1", &[("a", "1")]);
}

#[test]
fn what_is_not_understood_says_where_and_what_to_do() {
    for (text, line, words) in [
        (".include \"/etc/passwd\"", 1, "macros"),
        ("a = 1\n\nb = <<EOD\nx\nEOD\n", 3, "several lines"),
        ("a = 1 b = 2\nc = {", 2, "does not end"),
        ("a = \"x\" b = 2", 1, "write ;"),
        ("a = x\\ny", 1, "in quotes"),
        ("a = x{y}", 1, "in quotes"),
        ("a = \"x\ny\"", 1, "line break"),
        ("a = \"x", 1, "does not end"),
        ("a = \"\\x\"", 1, "backslash"),
        ("a = \"\\ud800\"", 1, "four digits"),
        ("a = 'x\\'y'", 1, "double quotes"),
        ("a {\n b = 1\n", 3, "close it with }"),
        ("a = [1, 2", 1, "close it with ]"),
        ("a = [\"1\" \"2\"]", 1, "comma"),
        ("a = [{b = 1}]", 1, "sections in a list"),
        ("a = 1 }", 1, "closes no section"),
        ("{ a = 1 }\nb = 2", 2, "after the last }"),
        ("a { b = 1 }\na { c = 2 }", 2, "join both"),
        ("a { b = 1 }\na = 2", 2, "take one away"),
        ("a = 2\na { b = 1 }", 2, "join both"),
        ("a =", 1, "no value"),
        ("a = ;", 1, "no value"),
        ("a == x", 1, "once"),
        ("a = :x", 1, "once"),
        ("a", 1, "behind a key"),
        ("s{ }", 1, "behind a key"),
        ("=x", 1, "begins with a letter"),
        ("\"\" = x", 1, "a key is empty"),
        ("/* never", 1, "close it with */"),
        ("a b [1]", 1, "several names"),
        ("a = \u{1b}", 1, "in quotes"),
    ] {
        let error = Document::parse(text.as_bytes().to_vec()).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(words), "{text:?}: {error}");
    }
    let error = Document::parse(b"a = 1\nb = \xff".to_vec()).unwrap_err();
    assert!(error.starts_with("line 2: ") && error.contains("UTF-8"), "{error}");
    let many: Vec<_> = (0..30_000).map(|number| format!("a{number}=1\n")).collect();
    assert!(Document::parse(many.concat().into_bytes()).unwrap_err().contains("more values"));
    assert!(Document::parse(vec![b'#'; (1 << 20) + 1]).unwrap_err().contains("larger"));
}

#[test]
fn a_change_touches_its_value_alone() {
    for (text, key, value, expected) in [
        ("a = 1; # one\nb = 2\n", "a", "3", "a = 3; # one\nb = 2\n"),
        ("a = \"x\"\n", "a", "y", "a = \"y\"\n"),
        ("a = x\n", "a", "y z", "a = \"y z\"\n"),
        ("a = x\n", "a", "null", "a = \"null\"\n"),
        ("a = x\n", "a", "", "a = \"\"\n"),
        ("a = x\n", "a", "\"\\\n", "a = \"\\\"\\\\\\n\"\n"),
        ("a = [1, 2];\n", "a", "3", "a = \"3\";\n"),
        ("a = 1\n  a = 2 \nb = 3\n", "a", "4", "a = 4\nb = 3\n"),
        ("s { a = 1 }\n", "s.a", "2", "s { a = 2 }\n"),
        ("a = 1", "b", "2", "a = 1\nb = \"2\";\n"),
        ("a = 1 # x", "b", "2", "a = 1 # x\nb = \"2\";\n"),
        ("", "b", "2", "b = \"2\";\n"),
        ("{ a = 1 }\n", "b", "2", "{ a = 1 \nb = \"2\";\n}\n"),
        ("{}", "b.c", "2", "{\nb.c = \"2\";\n}"),
        ("a { b = 1\n c { d = 2 } }\nx = 1\n", "a", "2", "x = 1\na = \"2\";\n"),
    ] {
        let mut document = parse(text);
        document.set(key, value);
        assert_eq!(document.get(key).as_deref(), Some(value));
        let bytes = document.into_bytes();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected, "{text:?}");
        assert_eq!(Document::parse(bytes).unwrap().get(key).as_deref(), Some(value), "{expected:?}");
    }
}

#[test]
fn what_is_taken_away_takes_its_line_along() {
    for (text, expected) in [
        ("a = 1;\nb = 2;\n", "b = 2;\n"),
        ("x = 1\n\ta: [1,\n2] ; \r\nb = 2", "x = 1\nb = 2"),
        ("a = 1; b = 2", " b = 2"),
        ("b = 2, a = 1", "b = 2, "),
        ("a = 1 # why\nb = 2\n", " # why\nb = 2\n"),
        ("a = 1\nb = 2\na = 3", "b = 2\n"),
        ("{ \"a\": 1 }", "{  }"),
    ] {
        let mut document = parse(text);
        assert!(document.remove("a") && !document.remove("a"));
        let bytes = document.into_bytes();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected, "{text:?}");
        assert_eq!(Document::parse(bytes).unwrap().get("a"), None);
    }
    let mut document = parse("a = 1\n");
    document.set("b", "2");
    assert!(document.remove("b"));
    assert_eq!(document.into_bytes(), b"a = 1\n");
}

#[test]
fn a_list_of_lists_is_said_to_be_lost() {
    let document = parse("a = [[1], 2]\nb = 3\n");
    let (values, lost) = document.values();
    assert_eq!(values, [("b".to_owned(), Some("3".to_owned()))]);
    assert_eq!(lost[0].0, "a");
    assert!(document.is_section("a") && document.get("a").is_none());
}
