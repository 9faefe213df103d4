import shm_protocol.typescript
import utils

print(utils.words("Words, words, words"))
print(utils.words("これは日本語の文です", locale="ja")["count"])
print(utils.countdown(3))
print(list(utils.letters(f"a{utils.FAMILY}b")))

# The same without an import hook.
loaded = shm_protocol.load("utils.ts")
print(loaded.words("be")["longest"])
