use super::*;

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

fn created(fs: &MemFs, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = fs.create_new(&path(name)).unwrap();
    file.write_at(0, &[IoSlice::new(content)]).unwrap();
    file
}

#[test]
fn a_process_crash_loses_nothing_and_closes_everything() {
    let fs = MemFs::new();
    let file = created(&fs, "a", b"hello");
    let lock = fs.lock(&path("LOCK")).unwrap();
    assert!(lock.is_some());
    assert!(fs.lock(&path("LOCK")).unwrap().is_none());
    fs.crash_process();
    assert!(file.read_at(0, &mut [0]).is_err());
    assert_eq!(fs.content(&path("a")).unwrap(), b"hello");
    assert!(fs.lock(&path("LOCK")).unwrap().is_some());
}

#[test]
fn what_was_synced_survives_any_power_loss() {
    for seed in 0..64 {
        let fs = MemFs::new();
        let file = created(&fs, "a", &[7; 2000]);
        file.sync_data().unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        file.write_at(1500, &[IoSlice::new(&[8; 2000])]).unwrap();
        fs.lose_power(seed);
        let content = fs.content(&path("a")).unwrap();
        assert_eq!(content[..1024], [7; 1024], "seed {seed}");
        assert!(content.len() == 2000 || content.len() == 3500, "seed {seed}");
    }
}

#[test]
fn what_was_not_synced_can_be_lost_in_any_part() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let fs = MemFs::new();
        let file = created(&fs, "a", &[0; 2048]);
        file.sync_data().unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        file.write_at(0, &[IoSlice::new(&[1; 2048])]).unwrap();
        fs.lose_power(seed);
        let content = fs.content(&path("a")).unwrap();
        outcomes.insert([content[0], content[512], content[1024], content[1536]]);
    }
    assert_eq!(outcomes.len(), 16, "every subset of four sectors");
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    for seed in 0..32 {
        let fs = MemFs::new();
        let file = created(&fs, "a", &[1; 512]);
        fs.sync_dir(Path::new("/d")).unwrap();
        fs.fail(FaultKind::Sync, 0, io::ErrorKind::Other);
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_ok());
        fs.lose_power(seed);
        let content = fs.content(&path("a")).unwrap();
        assert!(content.iter().all(|byte| *byte == 0), "seed {seed}");
    }
}

#[test]
fn a_rename_without_a_directory_sync_may_be_undone() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..32 {
        let fs = MemFs::new();
        created(&fs, "old", b"1").sync_data().unwrap();
        created(&fs, "new", b"2").sync_data().unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        fs.rename(&path("new"), &path("old")).unwrap();
        fs.lose_power(seed);
        outcomes.insert(fs.content(&path("old")).unwrap());
    }
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn a_full_disk_refuses_room_and_a_halted_machine_refuses_everything() {
    let fs = MemFs::new();
    let file = created(&fs, "a", &[1; 512]);
    fs.set_capacity(Some(1000));
    assert_eq!(file.allocate(1001).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.allocate(1000).unwrap();
    fs.halt_after(1);
    file.sync_data().unwrap();
    assert!(file.sync_data().is_err());
    assert!(fs.list(Path::new("/d")).is_err());
    fs.crash_process();
    assert_eq!(fs.list(Path::new("/d")).unwrap(), ["a"]);
}
