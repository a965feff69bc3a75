//! Manifests that name what lies elsewhere, or ask for more than they are.

use serde_json::{Value, json};

use crate::support::pool::names;
use crate::support::run::remand;
use crate::trap::{Trap, cost};

/// Names that mean something to a file system, a shell, a terminal or an option parser.
const NAMES: [&str; 18] = [
    "../../etc",
    "..",
    ".",
    "",
    "-rf",
    "--pool=/",
    "a;b",
    "$(x)",
    "`x`",
    "a b",
    "a\nb",
    "a\0b",
    "a\u{1b}[2Jb",
    "a/b",
    "/etc",
    ".remand",
    "a@b",
    "a%b\\",
];

#[test]
fn resources_with_names_that_mean_something() {
    let (trap, honest) = Trap::new();
    let long = "n".repeat(300);
    for name in NAMES.into_iter().chain([&long[..]]) {
        for field in ["name", "base"] {
            let mut bundle = honest.clone();
            let mut manifest = bundle.manifest();
            if field == "base" {
                manifest["resources"][0]["base"]["name"] = name.into();
            } else {
                manifest["resources"][0]["name"] = name.into();
            }
            bundle.set_manifest(&manifest);
            bundle.reseal();
            // Whether it is whole, and no more, is what verify tells.
            let archive = trap.scratch.join("hostile.tar");
            bundle.save(&archive);
            let restore = remand(["restore"]).on(&trap.target).arg(&archive);
            trap.costs_little("TAR", &format!("{field} {name:?}"), restore, &[20, 23]);
            trap.only_looks("TAR", &archive);
        }
    }
}

#[test]
fn datasets_with_names_that_mean_something() {
    let (trap, honest) = Trap::standalone();
    for name in NAMES {
        let mut bundle = honest.clone();
        let mut manifest = bundle.manifest();
        let mut dataset = manifest["resources"][0]["datasets"][0].clone();
        dataset["name"] = name.into();
        dataset["member"] = format!("{name}.tree").into();
        manifest["resources"][0]["datasets"].as_array_mut().unwrap().push(dataset);
        bundle.set_manifest(&manifest);
        bundle.reseal();
        let archive = trap.scratch.join("hostile.tar");
        bundle.save(&archive);
        let restore = remand(["restore"]).on(&trap.target).arg(&archive);
        let cost = cost(restore, None);
        // What lies in a dataset that there is not cannot be made.
        trap.check("TAR", &format!("{name:?}"), &cost, &[0, 1, 22, 23]);
        if cost.status == 0 {
            // What is odd and no more is a name like any other.
            assert!(!name.contains('/') && ![".", "..", ""].contains(&name), "{name:?}");
            assert_eq!(names(&trap.target.path("jails")), ["web01"], "{name:?}");
            assert!(trap.target.path("jails/web01").join(name).is_dir(), "{name:?}");
            trap.target.delete("jails/web01");
        }
        trap.only_looks("TAR", &archive);
    }
}

#[test]
fn manifests_that_name_what_lies_elsewhere() {
    let change: [fn(&mut Value); 9] = [
        |resource| resource["prefix"] = "../".into(),
        |resource| resource["prefix"] = "/etc/".into(),
        |resource| resource["config"] = "../../etc/passwd".into(),
        |resource| resource["fstab"] = "/etc/fstab".into(),
        |resource| resource["datasets"][0]["name"] = "../../../evil".into(),
        |resource| resource["datasets"][0]["member"] = "/etc".into(),
        |resource| resource["base"]["name"] = "../../jails/web01".into(),
        |resource| resource["base_directories"] = json!([{ "path": "../../../etc", "empty": true }]),
        |resource| resource["datasets"][0]["flags"] = json!([{ "path": "../../../etc", "flags": "schg" }]),
    ];
    let (trap, honest) = Trap::new();
    for (number, change) in change.into_iter().enumerate() {
        let mut bundle = honest.clone();
        let mut manifest = bundle.manifest();
        change(&mut manifest["resources"][0]);
        bundle.set_manifest(&manifest);
        bundle.reseal();
        let archive = trap.scratch.join("hostile.tar");
        bundle.save(&archive);
        let restore = remand(["restore"]).on(&trap.target).arg(&archive);
        trap.costs_little("TAR", &number.to_string(), restore, &[20, 22, 23]);
        trap.only_looks("TAR", &archive);
    }
}

/// Texts of JSON that take far more memory than bytes, or stack.
#[test]
fn manifests_that_grow_when_they_are_understood() {
    let (trap, honest) = Trap::new();
    let many = |text: &str, count: usize| format!("[{}{text}]", format!("{text},").repeat(count - 1));
    let dataset =
        |number: usize| format!(r#"{{"name":"d{number}","encoding":"tree","member":"d{number}.tree"}}"#);
    let datasets: Vec<String> = (0..240_000).map(dataset).collect();
    let cases = [
        ("nesting", "options", format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000))),
        ("nesting that nobody looks at", "unknown", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
        ("options", "options", format!("{{\"x\":{}}}", many("0", 7_000_000))),
        ("fewer options", "options", format!("{{\"x\":{}}}", many("[]", 240_000))),
        ("tool", "tool", many("0", 7_000_000)),
        ("fewer tools", "tool", many("[]", 240_000)),
        ("tags", "tags", many("\"\"", 5_000_000)),
        ("fewer tags", "tags", many("\"\"", 490_000)),
        ("datasets", "datasets", format!("[{}]", datasets.join(","))),
        ("fewer datasets", "datasets", format!("[{}]", datasets[..60_000].join(","))),
        ("text", "note", format!("\"{}\"", "x".repeat(15 << 20))),
        ("too long", "note", format!("\"{}\"", "x".repeat(17 << 20))),
    ];
    for (what, field, json) in cases {
        let mut bundle = honest.clone();
        let mut manifest = bundle.manifest();
        let resource = ["tags", "datasets", "note"].contains(&field);
        let place = if resource { &mut manifest["resources"][0][field] } else { &mut manifest[field] };
        *place = "HERE".into();
        let text = serde_json::to_string(&manifest).unwrap().replace("\"HERE\"", &json);
        bundle.member("./manifest.json").data = text.into_bytes();
        bundle.reseal();
        let archive = trap.scratch.join("hostile.tar");
        bundle.save(&archive);
        let restore = remand(["restore"]).on(&trap.target).arg(&archive);
        // A long note or many tags are no crime; but no jail has them twice.
        let legal = ["fewer tags", "text", "fewer datasets", "nesting that nobody looks at"].contains(&what);
        if legal {
            let cost = cost(restore, None);
            trap.check("TAR", what, &cost, &[0, 3, 22, 23]);
            trap.target.delete("jails/web01");
        } else {
            trap.costs_little("TAR", what, restore, &[22, 23]);
        }
        for command in ["verify", "info"] {
            let run = remand([command]).arg(&archive);
            trap.costs_little("TAR", &format!("{what} {command}"), run, &[0, 22, 23]);
        }
    }
}
