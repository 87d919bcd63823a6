//! Builds the static binary, where a target and a C compiler for it are installed.
//!
//! Two dependencies hold C (`ring`, `mimalloc`), so a Rust target alone is not enough.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Where `cc` looks for a compiler of that target.
const COMPILER: &str = "CC_x86_64_unknown_linux_musl";

/// The names that such a compiler goes by.
const COMPILERS: [&str; 2] = ["musl-gcc", "x86_64-linux-musl-gcc"];

/// How a build ends that cannot be tried: not as one that failed.
const NOT_INSTALLED: u8 = 2;

/// Builds it, and looks whether it is static.
pub(crate) fn run() -> ExitCode {
    let compiler = match prerequisites() {
        Ok(compiler) => compiler,
        Err(missing) => {
            eprintln!("musl: not built: {missing}");
            return ExitCode::from(NOT_INSTALLED);
        }
    };
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let built = Command::new(cargo)
        .args(["build", "--locked", "--release", "--package", "quorate-cli", "--target", TARGET])
        .env(COMPILER, compiler)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let binary = crate::target().join(TARGET).join("release/quorate");
    match is_static(&binary) {
        Ok(true) => {
            println!("musl: {} is static", binary.display());
            ExitCode::SUCCESS
        }
        Ok(false) => {
            eprintln!("musl: {} asks for a dynamic loader", binary.display());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("musl: {}: {error}", binary.display());
            ExitCode::FAILURE
        }
    }
}

/// The C compiler to use; else what is missing, and how it may be had.
fn prerequisites() -> Result<String, String> {
    let compiler = match env::var(COMPILER) {
        Ok(named) => Some(named),
        Err(_) => COMPILERS.into_iter().find(|name| on_path(name)).map(str::to_owned),
    };
    let compiler = compiler.ok_or_else(|| {
        format!(
            "there is no C compiler for {TARGET}: neither {} is on the path, nor is ${COMPILER} \
             set (Debian: apt install musl-tools)",
            COMPILERS.join(" nor ")
        )
    })?;
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map_err(|error| format!("rustc does not start: {error}"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(compiler);
    }
    Err(format!("the target is not installed: rustup target add {TARGET}"))
}

fn on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Whether a binary needs no loader: no program header of its is PT_INTERP (ELF-64,
/// little-endian).
fn is_static(binary: &Path) -> Result<bool, String> {
    const INTERPRETER: u32 = 3;
    let bytes = fs::read(binary).map_err(|error| error.to_string())?;
    let at = |offset: usize, length: usize| {
        let part = bytes.get(offset..offset + length)?;
        Some(part.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let number = |offset, length| at(offset, length).ok_or("it is cut short");
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("it is no ELF binary of 64 bits".to_owned());
    }
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for place in 0..count {
        let offset = usize::try_from(first + place * size).map_err(|error| error.to_string())?;
        if number(offset, 4)? == u64::from(INTERPRETER) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_asks_for_a_loader_is_not_static() {
        assert_eq!(is_static(&env::current_exe().unwrap()), Ok(!cfg!(target_env = "gnu")));
        let dir = env::temp_dir().join(format!("quorate-elf-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("elf");
        let mut header = vec![0; 64 + 56];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (header[32], header[54], header[56]) = (64, 56, 1);
        header[64] = 1; // PT_LOAD
        fs::write(&file, &header).unwrap();
        assert_eq!(is_static(&file), Ok(true));
        header[64] = 3; // PT_INTERP
        fs::write(&file, &header).unwrap();
        assert_eq!(is_static(&file), Ok(false));
        fs::write(&file, &header[..60]).unwrap();
        assert_eq!(is_static(&file), Err("it is cut short".to_owned()));
        fs::write(&file, "#!/bin/sh").unwrap();
        assert!(is_static(&file).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
