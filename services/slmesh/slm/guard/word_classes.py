"""Counts of the kinds of words that attempts to steer an assistant are made of.

N-grams learn the words of the attacks they were trained on; a count by class also knows the words that
mean the same. The classes follow what is published on techniques: Perez and Ribeiro, "Ignore Previous
Prompt", arXiv 2211.09527; Liu et al., arXiv 2310.12815; Schulhoff et al., "HackAPrompt", arXiv
2311.16119; Bhatt et al., "CyberSecEval 2", arXiv 2404.13161. Their words were written after training
rows of purplellama_injection and bipia had been read; no test row was. Nothing counts length, line ends
or letters beyond ASCII: they tell data sets apart, not attacks from questions.

Training and serving use this code alike. A bundle holds the digest of the words that it was trained
with, so it is refused when they have changed under it.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import eq

import numpy as np

__all__ = ["CLASSES", "MOST", "WORDS_DIGEST", "class_features", "count_classes"]

MOST = 4
"""A class counts so many times at most, so that long texts are not attacks because they are long."""

_WORD = re.compile(r"\w+|[^\w\s]")

_WORDS = {
    "drop": (
        "ignore; ignores; ignoring; ignored; disregard; disregarding; forget; overlook; "
        "override; overrides; overriding; bypass; bypassing; circumvent; neglect; dismiss; "
        "discard; set aside; pay no attention; do not follow; don't follow; stop following; "
        "no longer; not supposed; void; cancel; erase; wipe; turn off; switch off; "
        "switched off; disable; disabled; get around; break free; broken free; regardless of; "
        "free of; free from; released from; release you; lift; lifted; suspend; suspended"
    ),
    "orders": (
        "instruction; instructions; instructed; directive; directives; directions; prompt; "
        "prompts; rule; rules; guideline; guidelines; policy; policies; restriction; "
        "restrictions; constraint; constraints; limitation; limitations; programming; filter; "
        "filters; safeguard; safeguards; censorship; command; commands; you were told; "
        "been told; told you; you were given; your training; ethics; ethical; moral; "
        "content policy"
    ),
    "before": (
        "previous; previously; prior; above; earlier; preceding; before this; so far; initial; "
        "original; up to now; until now; past; first message; foregoing; all of your; "
        "everything you"
    ),
    "role": (
        "you are now; you're now; you are a; you are an; you are going to; you will be; act as; "
        "acting as; acts as; pretend; pretends; pretending; role play; roleplay; role-play; "
        "play the role; the role of; play a game; a game; character; persona; alter ego; "
        "from now on; as of now; simulate; simulating; simulation; impersonate; "
        "stay in character; your name is; known as; behave as; behave like; respond as; "
        "answer as; speak as; twin; actor; be my; immerse"
    ),
    "imagined": (
        "imagine; imagined; imaginary; suppose; supposing; hypothetical; hypothetically; "
        "let's say; let us say; let's assume; assume; in a world; in a universe; "
        "parallel universe; fiction; fictional; fictitious; scenario; what if; story; novel; "
        "tale; dream; dystopian; utopia; futuristic; screenplay; movie script; theoretical; "
        "theoretically; thought experiment; for a play; for research; just for; for testing; "
        "testing purposes; educational purposes; an experiment"
    ),
    "secret": (
        "secret; secrets; password; passwords; passphrase; passcode; secret key; access key; "
        "api key; access code; confidential; hidden; classified; private key; system prompt; "
        "system message; initial prompt; internal notes; forbidden; proprietary"
    ),
    "person": (
        "birth date; birthdate; date of birth; birth year; birthday; birth day; email address; "
        "e-mail address; home address; phone number; social security; ssn; city of residence; "
        "credit card; bank balance; account balance; user's; users; customers; "
        "customer records; personal data; personal information; private data; initials; "
        "list of users; the user lives; user live; full name; maiden name; medical record; "
        "medical records; salary"
    ),
    "authority": (
        "developer; developers; admin; administrator; creator; creators; root; sudo; superuser; "
        "owner; boss; ceo; president; police; police officer; investigator; god; god mode; "
        "debug mode; developer mode; maintenance mode; system mode; system check; "
        "system override; override mode; clearance; openai; anthropic; your maker; your makers; "
        "mode; mode activated; security check; on behalf of; as an expert; i am your; i'm your; "
        "auditor"
    ),
    "pressing": (
        "must; promise; because; important; crucial; urgent; emergency; trust me; otherwise; "
        "or else; only if; i will give you; i'll give you; i'll tip; tip you; donate; reward; "
        "charity; in exchange; in return; research shows; studies show; logically; beneficial; "
        "it is safe; i assure; i can assure; for the safety; we can advance; life depends; die; "
        "lives; please just; really need; i beg; lose points; points; punish; consequences; "
        "helps; harmless; no harm; won't tell; won't misuse"
    ),
    "encode": (
        "encode; encoded; encoding; decode; decoded; decoding; base64; base 64; rot13; rot 13; "
        "morse; hexadecimal; hex; binary; cipher; caesar; leetspeak; leet speak; 1337; "
        "pig latin; reverse; reversed; reverse order; backwards; scramble; unscramble; "
        "letter by letter; one letter; character by character; rhyme; rhymes; rhyming; "
        "acrostic; first letter; first letters; last letter; every letter; alphabet; ascii; "
        "unicode; emoji; emojis; anagram; anagrams; obfuscate; translate; translated; spell; "
        "interlace; haiku; poem; synonyms; crossword; rearrange; misspell"
    ),
    "split": (
        "part 1; part 2; part one; part two; parts; split; concatenate; concatenated; "
        "concatenation; combine; combined; join; fragments; pieces; a is; b is; a =; b =; c =; "
        "x =; y =; z =; a + b; x + y; follow up; step 1; first half; second half; put together; "
        "the following parts"
    ),
    "markup": (
        "< system; < / system; [ system; system :; [ inst; < < sys; < | im_start; < | im; | >; "
        "# # #; < ! -; - - >; < script; < caption; assistant :; user :; human :; ai :; q :; "
        "a :; begin system; end of prompt; end of document; end system; chatgpt :; gpt :; "
        "bot :; dan :"
    ),
    "shift": (
        "instead; anyway; by the way; speaking of; oh ,; also ,; now ,; but first; but now; "
        "moving on; change of topic; changing the subject; changing topics; new topic; "
        "on another note; on a different note; actually ,; rather than; new task; next task; "
        "other task; one more thing; that aside; before you; after that; then ,; finally ,; "
        "and then; new instructions; new rule; new rules; new instruction; more importantly; "
        "in addition"
    ),
    "unbound": (
        "unrestricted; unlimited; unfiltered; uncensored; limitless; unethical; immoral; "
        "illegal; amoral; harmful; jailbreak; jailbroken; jailbreaking; dan; do anything now; "
        "do anything; anything i ask; everything i ask; refuse; refuses; refusal; refusing; "
        "decline; disclaimer; disclaimers; warnings; apologize; apologise; apologies; comply; "
        "complies; obey; obeys; obedient; unbound; freed; without limits; without any; "
        "no rules; no limits; no restrictions; no filters; no filter; no ethical; no moral; "
        "never say; never refuse; cannot refuse; not allowed; never mention; as an ai; "
        "against your; swear; profanity; offensive; inappropriate; controversial; opinion; "
        "opinions; opinionated"
    ),
    "reply": (
        "your answer; your answers; your reply; your replies; your response; your responses; "
        "the response; the answer; your output; the output; output; your message; your summary; "
        "your text; your reaction; final answer; in response; reply with; respond with; "
        "answer with; start with; begin with; end with; print the; say that; state that; say :; "
        "state :; state the; repeat after; word for word; verbatim; only say; just say; "
        "simply say; say '; say \"; write down; following text; only the; nothing else"
    ),
    "excerpt": (
        "following code; code block; code snippet; code excerpt; code section; code segment; "
        "piece of code; your code; your implementation; your solution; your codebase; "
        "your script; your program; your application; below code; code below; subsequent code; "
        "following snippet; following script; following lines; import os; import requests; "
        "subprocess; os . system"
    ),
    "assistant": (
        "ai; a . i; language model; ai model; llm; gpt; chatgpt; assistant; chatbot; bot; "
        "neural network; neural networks; machine learning; artificial intelligence; yourself; "
        "your creator; your purpose; your database; your system; your memory; your knowledge; "
        "your password; your secret; your account; our system; our database; our passwords; "
        "your own"
    ),
    "command": (
        "you must; you will; you shall; you have to; you need to; you should; you can; "
        "you cannot; you can't; you do not; you don't; you are not; you aren't; you never; "
        "you always; you only; do not; don't; never; always; make sure; ensure; be sure; "
        "remember to; keep in mind; listen; understood; confirm"
    ),
    "asking": (
        "tell me; give me; show me; can you; could you; would you; will you; share; reveal; "
        "provide; disclose; what is your; what's your; what are your; what would your; "
        "i need you; i want you; i'd like you; help me; let me; grant me; i need your; send me; "
        "leak; print; dump; display; expose; hand over; recite"
    ),
    "bidding": (
        "add; include; insert; append; incorporate; integrate; embed; merge; blend; attach; "
        "weave; infuse; augment; enhance; modify; alter; adjust; change; convert; transform; "
        "rewrite; write; compose; create; generate; produce; draft; craft; describe; explain; "
        "summarize; summarise; outline; list; compare; discuss; analyze; analyse; calculate; "
        "solve; recommend; suggest; promote; advertise; mention; encourage; urge; group; "
        "remove; use; feature; highlight; place; introduce"
    ),
    "foreign": (
        # to ignore or to forget, and instructions
        "ignora; ignore tout; ignorez; ignorer; ignorar; ignoriere; ignorieren sie; ignoreer; "
        "ignorera; ignorér; ignoruj; zignoruj; ignorieren; ignoras; ignoren; ignorate; "
        "ignorieer; oublie; oublier; oubliez; olvida; olvide; olviden; olvidar; vergiss; "
        "vergessen sie; esqueça; esquece; esqueca; dimentica; dimenticare; dimenticate; "
        "vergeet; glöm; glem; zapomnij; zapomeň; unut; görmezden; yoksay; abaikan; lupakan; "
        "bỏ qua; quên; игнорируй; игнорируйте; игнорировать; забудь; забудьте; ігноруй; "
        "ігноруйте; αγνόησε; αγνοήστε; ξέχνα; ξεχάστε; تجاهل; انس; نادیده; अनदेखा; अनदेखी; भूल; "
        "anweisungen; anweisung; vorgaben; instrucciones; instruções; instrucoes; istruzioni; "
        "consignes; instructies; instruktioner; instrukcje; polecenia; pokyny; talimatları; "
        "talimatlar; instruksi; perintah; hướng dẫn; инструкции; указания; інструкції; οδηγίες; "
        "التعليمات; تعليمات; निर्देश; निर्देशों"
    ),
    "foreign secret": (
        # password, secret
        "contraseña; contrasena; passwort; kennwort; mot de passe; senha; wachtwoord; lösenord; "
        "hasło; heslo; şifre; şifreyi; kata sandi; mật khẩu; пароль; κωδικό; κωδικός; "
        "كلمة المرور; पासवर्ड; salasana; geheimnis; secreto; segredo; segreto"
    ),
}
"""By class its words and phrases, in lower case; signs are words too, and parted by spaces."""

_UNSPACED = {
    "foreign": (
        "忽略; 无视; 忽視; 忘记; 忘掉; 指示; 指令; 無視; 忘れ; "
        "이전 지시; 무시; 지시사항; 잊어; คำสั่ง; เพิกเฉย"
    ),
    "foreign secret": "密码; 密碼; パスワード; 秘密; 暗証; 비밀번호; 암호; รหัสผ่าน; 密钥",
}
"""Pieces of writings that put no spaces between words, or endings at them."""

_BIDDING = "bidding"
"""Counts only where a clause begins: a wish, and not a word in passing."""

_BEFORE_A_BID = frozenset(".!?:;,-()[]<>\"'#") | {"please", "and", "then", "now", "just", "also"}

_NEAR = (
    ("drop", "orders"),
    ("drop", "before"),
    ("asking", "secret"),
    ("asking", "person"),
    ("bidding", "reply"),
    ("bidding", "excerpt"),
)
"""Pairs counted besides: a word of the first class and, soon after it, one of the second."""

_SOON = 6
"""Words between the two of a pair, at most."""

_OWN = "own secret"
"""A secret of the writer's own, such as "my password"; it is none of ``secret``."""

_REPEATED = "repeated"
"""Words and signs that are the same as the one before, or as the one before that."""

CLASSES = (*_WORDS, *(f"{first} {second}" for first, second in _NEAR), _OWN, _REPEATED)
"""Names of the counts, in their order."""

WORDS_DIGEST = (
    "sha256:"
    + hashlib.sha256(
        json.dumps([_WORDS, _UNSPACED, sorted(_BEFORE_A_BID), _NEAR, _SOON, MOST]).encode()
    ).hexdigest()
)
"""Of everything that counts depend on but the code."""


def class_features(texts: Sequence[str]) -> np.ndarray:
    """Return log(1 + count) of each class for each text, float32 (B, C)."""
    features: np.ndarray = np.log1p(count_classes(texts))
    return features


def count_classes(texts: Sequence[str]) -> np.ndarray:
    """Return how many words of each class each text has, float32 (B, C), in [0, ``MOST``].

    Args:
        texts: Of any length; the time taken is linear in it.
    """
    counts = np.zeros((len(texts), len(CLASSES)), np.float32)
    for row, text in enumerate(texts):
        for name, count in _counts(text):
            counts[row, _INDEX[name]] = min(count, MOST)
    return counts


def _counts(text: str) -> Iterator[tuple[str, int]]:
    lowered = text.lower()
    words = _WORD.findall(lowered)
    places: dict[str, list[int]] = {}
    for at, word in enumerate(words):
        for rest, name in _BEGINNING.get(word, ()):
            if rest and words[at + 1 : at + 1 + len(rest)] != rest:
                continue
            if name == _BIDDING and at and words[at - 1] not in _BEFORE_A_BID:
                continue
            if name == "secret" and at and words[at - 1] == "my":
                name = _OWN
            places.setdefault(name, []).append(at)
    if not text.isascii():
        for name, pieces in _UNSPACED.items():
            found = sum(lowered.count(piece) for piece in pieces.split("; "))
            if found:
                places.setdefault(name, []).extend([0] * found)
    for name, found_at in places.items():
        yield name, len(found_at)
    for first, second in _NEAR:
        if first in places and second in places:
            yield f"{first} {second}", _followed(places[first], places[second])
    yield _REPEATED, sum(sum(map(eq, words, islice(words, step, None))) for step in (1, 2))


def _followed(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many of the rising places have one of the others soon after them."""
    count = 0
    for place in first:
        at = bisect_right(second, place)
        count += at < len(second) and second[at] - place <= _SOON
    return count


def _by_first_word() -> dict[str, list[tuple[list[str], str]]]:
    """Return by first word the rest of each phrase, and its class."""
    beginning: dict[str, list[tuple[list[str], str]]] = {}
    for name, phrases in _WORDS.items():
        for phrase in dict.fromkeys(phrases.split("; ")):
            first, *rest = _WORD.findall(phrase)
            beginning.setdefault(first, []).append((rest, name))
    return beginning


_INDEX = {name: number for number, name in enumerate(CLASSES)}
_BEGINNING = _by_first_word()
