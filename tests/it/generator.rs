//! `fedswarm generator`: trains, stops, goes on, and says what is wrong.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{fedswarm, json, stderr, stdout};

/// A set of 96 images of 8 x 8 with one bright half, in a folder `set`.
fn set(folder: &Path) {
    fs::create_dir(folder.join("set")).unwrap();
    let mut images = vec![0, 0, 8, 3];
    let mut labels = vec![0, 0, 8, 1];
    for extent in [96u32, 8, 8] {
        images.extend(extent.to_be_bytes());
    }
    labels.extend(96u32.to_be_bytes());
    for i in 0..96u32 {
        images.extend((0..64u32).map(|p| if (p % 8 < 4) == (i % 2 == 0) { 200 + (i % 50) as u8 } else { i as u8 }));
        labels.push((i % 2) as u8);
    }
    fs::write(folder.join("set/images-idx3-ubyte"), images).unwrap();
    fs::write(folder.join("set/labels-idx1-ubyte"), labels).unwrap();
}

/// A partition of the set: two members with five images together.
fn two_members(folder: &Path) {
    let partition = r#"{"clients":{"0":{"train":[0,1,2],"test":[3]},"1":{"train":[10],"test":[]}}}"#;
    fs::write(folder.join("p.json"), partition).unwrap();
}

const TRAIN: [&str; 10] =
    ["generator", "train", "--data", "set", "--out", "g.safetensors", "--latent", "4", "--mapping-epochs", "2"];

#[test]
fn a_trained_generator_is_inspected_with_its_story_statistics_and_a_grid() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    two_members(folder.path());
    let output = fedswarm(folder.path(), &[&TRAIN[..], &["--exclude", "p.json", "--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let trained = json(&output);
    assert_eq!((&trained["images"], &trained["excluded"]), (&91.into(), &5.into()));
    assert!(!folder.path().join("g.safetensors.checkpoint").exists());

    let inspect = ["generator", "inspect", "g.safetensors", "--samples", "50"];
    let seen = json(&fedswarm(folder.path(), &[&inspect[..], &["--json", "--out", "grids"]].concat()));
    assert_eq!(seen["id"], trained["id"]);
    assert_eq!(seen["image"], serde_json::json!([1, 8, 8]));
    assert_eq!(seen["card"]["origin"]["excluded"], 5);
    for number in ["mean", "squared_distance", "kernel", "variety"] {
        assert!(seen["statistics"][number].as_f64().unwrap().is_finite(), "{number}");
    }
    let grid = fs::read(folder.path().join("grids/grid.png")).unwrap();
    assert_eq!(&grid[1..4], b"PNG");

    let text = stdout(&fedswarm(folder.path(), &inspect));
    for word in ["91 images, 5 left out", "--exclude p.json", "latent variance", "squared distance", "kernel"] {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

#[test]
fn with_a_cap_only_what_capped_members_hold_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    two_members(folder.path());
    let output = fedswarm(folder.path(), &[&TRAIN[..], &["--exclude", "p.json", "--cap", "1/1", "--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let trained = json(&output);
    assert_eq!((&trained["images"], &trained["excluded"]), (&93.into(), &3.into()));
    let text = stdout(&fedswarm(folder.path(), &["generator", "inspect", "g.safetensors", "--samples", "50"]));
    assert!(text.contains("--exclude p.json --cap 1/1"), "{text}");
}

#[test]
fn the_bundled_generators_open_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, images) in [("digits", 20_000), ("fashion", 60_000)] {
        let seen = json(&fedswarm(folder.path(), &["generator", "inspect", name, "--samples", "100", "--json"]));
        assert_eq!(seen["image"], serde_json::json!([1, 28, 28]), "{name}");
        assert_eq!(seen["card"]["origin"]["images"], images, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_a_checkpoint_and_resume_ends_as_if_there_had_been_none() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    let args = [&TRAIN[..], &["--epochs", "400", "--json"]].concat();
    let whole = tempfile::tempdir().unwrap();
    set(whole.path());
    let expected = json(&fedswarm(whole.path(), &args))["id"].clone();

    let checkpoint = folder.path().join("g.safetensors.checkpoint");
    let mut running = Command::new(env!("CARGO_BIN_EXE_fedswarm"))
        .args(&args)
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Progress is told after training began to listen for signals.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(running.stderr.take().unwrap()));
    assert!(lines.by_ref().any(|line| line.unwrap().contains("epoch 20")));
    let told = Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    assert!(told.success());
    // The pipe is emptied until the process ends, so that it never waits for its reader.
    let last: Vec<String> = lines.map_while(Result::ok).collect();
    let status = running.wait().unwrap();
    assert_eq!(status.code(), Some(1), "{last:?}");
    assert!(last.iter().any(|line| line.contains("--resume")), "{last:?}");
    assert!(checkpoint.exists() && !folder.path().join("g.safetensors").exists());

    let again = fedswarm(folder.path(), &args);
    assert_eq!(again.status.code(), Some(2), "a checkpoint is not overwritten");
    assert!(stderr(&again).contains("--resume"));
    let other = fedswarm(folder.path(), &[&args[..], &["--resume", "--seed", "9"]].concat());
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("other options"), "{}", stderr(&other));
    let resumed = fedswarm(folder.path(), &[&args[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(json(&resumed)["id"], expected);
    assert!(!checkpoint.exists());
}

#[test]
fn bad_input_is_refused_with_its_name_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    fs::write(folder.path().join("p.json"), r#"{"clients":{"0":{"train":[96],"test":[]}}}"#).unwrap();
    fs::write(folder.path().join("cut.safetensors"), [7; 20]).unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    for (args, words) in [
        (&["train", "--data", "nowhere", "--out", "g"][..], &["nowhere"][..]),
        (&["train", "--data", "set", "--out", "g", "--exclude", "p.json"], &["p.json", "96"]),
        (&["train", "--data", "set", "--out", "g", "--latent", "5"], &["5", "halves"]),
        (&["train", "--data", "bundled", "--out", "g", "--exclude", "bundled"], &["0 images are too few"]),
        (&["train", "--data", "set", "--out", "none/g"], &["none/g"]),
        (&["inspect", "nowhere.safetensors"], &["nowhere.safetensors"]),
        (&["inspect", "cut.safetensors"], &["cut.safetensors", "safetensors"]),
        (&["inspect", "set"], &["set", "digits, fashion"]),
        (&["inspect", "digits", "--mapping", "m.onnx"], &["digits", "mapping"]),
    ] {
        let output = fedswarm(folder.path(), &[&["generator"], args].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?}: no {word:?} in: {text}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
}
