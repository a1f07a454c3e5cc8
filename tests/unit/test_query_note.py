"""What is told of a query that an encoder cannot know, and that little else is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.colours import ColourEncoder
from wordframe.encoders import Encoder
from wordframe.encoders._dual import MODEL_TYPES
from wordframe.encoders.offline import OfflineEncoder
from wordframe.search import query_note
from wordframe.search._note import WORDS_FILE, words_of_captions

FOREIGN = [
    *("ein Hund läuft am Strand", "Leute tanzen auf einer Bühne", "jemand schneidet Gemüse", "zwei Männer reden"),
    *("un chien court sur la plage", "des enfants jouent dans le jardin", "un chat dort", "deux hommes discutent"),
    *("un perro corre por la playa", "alguien corta verduras", "cocinando en una sartén", "una boda"),
    *("un cane corre sulla spiaggia", "qualcuno taglia le verdure", "due uomini parlano", "una festa"),
    *("um cachorro corre na praia", "cozinhando em uma frigideira", "uma mulher fala para a câmera"),
    *("een hond rent op het strand", "iemand snijdt groenten", "mensen dansen op een podium"),
    *("pies biegnie po plaży", "bir köpek sahilde koşuyor", "koira juoksee rannalla", "egy kutya fut a strandon"),
    *(
        "狗在海滩上跑",
        "собака бежит по пляжу",
        "ビーチを走る犬",
        "해변에서 뛰는 개",
        "كلب يركض",
        "σκύλος στην παραλία",
        "कुत्ता",
    ),
]
UNSEEN = {
    "German": [
        "eine Frau kocht in der Küche",
        "Kinder spielen Fußball im Park",
        "ein rotes Auto fährt durch die Stadt",
        "Schnee fällt auf die Berge",
        "der Koch schneidet eine Zwiebel",
        "Katze auf dem Sofa",
        "Sonnenuntergang am See",
    ],
    "French": [
        "une femme cuisine dans la cuisine",
        "une voiture rouge traverse la ville",
        "la neige tombe sur les montagnes",
        "le cuisinier coupe un oignon",
        "chat sur le canapé",
        "coucher de soleil sur le lac",
        "des gens applaudissent",
    ],
    "Spanish": [
        "una mujer cocina en la cocina",
        "niños juegan al fútbol en el parque",
        "un coche rojo cruza la ciudad",
        "la nieve cae sobre las montañas",
        "gato en el sofá",
        "atardecer en el lago",
        "gente aplaudiendo en un concierto",
    ],
    "Russian": [
        "женщина готовит на кухне",
        "дети играют в футбол",
        "красная машина едет по городу",
        "снег падает на горы",
        "кошка на диване",
        "закат над озером",
        "повар режет лук",
    ],
    "Chinese": [
        "一个女人在厨房做饭",
        "孩子们在公园踢足球",
        "红色的汽车",
        "雪落在山上",
        "沙发上的猫",
        "湖上的日落",
        "厨师切洋葱",
    ],
    "Japanese": [
        "女性が台所で料理している",
        "公園でサッカーをする子供たち",
        "赤い車が街を走る",
        "山に雪が降る",
        "ソファの上の猫",
        "湖の夕日",
        "シェフが玉ねぎを切る",
    ],
    "Arabic": [
        "امرأة تطبخ في المطبخ",
        "أطفال يلعبون كرة القدم",
        "سيارة حمراء في المدينة",
        "الثلج يتساقط على الجبال",
        "قطة على الأريكة",
        "غروب الشمس فوق البحيرة",
        "الطباخ يقطع البصل",
    ],
}
"""Written after the rules were, and not looked at for them."""
ENGLISH = [
    *(
        "dog",
        "a dog runs on the beach",
        "two men",
        "cooking pasta",
        "crème brûlée",
        "a piñata at a party",
        "tv",
        "karaoke",
    ),
    *(
        "people at Christmas",
        "A Man Riding A Horse",
        "STREET AT NIGHT",
        "4k drone footage",
        "a 360 video",
        "x-ray",
        "3 dogs",
    ),
    *(
        "a woman in a café",
        "the man's hat",
        "snowboarders jumping",
        "not only dogs",
        "a piece of cake",
        "I ride my bike",
    ),
]


@pytest.fixture(scope="module")
def offline() -> Encoder:
    return OfflineEncoder()


@pytest.mark.parametrize("text", FOREIGN)
def test_other_languages_are_told(offline: Encoder, text: str) -> None:
    told = query_note(offline, text)
    assert told is not None
    assert told.startswith("this seems to be no English, which is all that the encoder reads: say it in English, or ")


@pytest.mark.parametrize("language", UNSEEN)
def test_sentences_that_the_rules_were_not_made_for_are_told(offline: Encoder, language: str) -> None:
    told = [(query_note(offline, text) or "").startswith("this seems to be no English") for text in UNSEEN[language]]
    assert sum(told) >= 6, told


@pytest.mark.parametrize("text", ENGLISH)
def test_plain_queries_are_not(offline: Encoder, text: str) -> None:
    assert query_note(offline, text) is None


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("🐕 🏖️", "there is no word in this query"),
        ("?!", "there is no word in this query"),
        ("Berlin", "“Berlin”: the encoder knows no names; describe what is to be seen instead"),
        ("Angela Merkel speaks to people", "“Angela Merkel”: the encoder knows no names"),
        ("a man walks in Timbuktu", "“Timbuktu”: the encoder knows no names"),
        ("a party in 2019", "“2019”: the encoder reads no numbers; describe what is to be seen, and use the filters"),
        ("IMG_2034", "“IMG_2034”: the encoder reads no numbers"),
        ("2019-05-01", "“2019-05-01”: the encoder reads no numbers"),
        ('a shirt with "LOVE" on it', "“LOVE”: the encoder reads no text in the picture; describe what else"),
        ("a sign that says exit", "“that says”: the encoder reads no text"),
        ("a beach without people", "“without” has hardly an effect: what is named is searched for"),
        ("No dog", "“No” has hardly an effect"),
        ("a ball that isn’t red", "“isn’t” has hardly an effect"),
    ],
)
def test_each_kind_says_what_helps(offline: Encoder, text: str, start: str) -> None:
    told = query_note(offline, text)
    assert told is not None
    assert told.startswith(start)
    assert "\n" not in told


def test_an_encoder_is_told_of_what_it_is_blind_to_alone() -> None:
    knowing = ColourEncoder()
    for text in (*FOREIGN, "Angela Merkel speaks", "IMG_2034", 'a shirt with "LOVE"'):
        assert query_note(knowing, text) is None, text
    assert query_note(knowing, "no dog")


@pytest.mark.parametrize("text", ["🐕", "🏖️ 🌞", "?!"])
def test_emoji_alone_are_told_with_every_encoder(offline: Encoder, text: str) -> None:
    told = "there is no word in this query, and {}: describe in words what is to be seen"
    assert query_note(offline, text) == told.format("the encoder knows no emoji")
    like_clip = ColourEncoder()
    like_clip.blind_to = frozenset({"language"})  # as CLIPs of English declare
    for encoder in (ColourEncoder(), like_clip):
        assert query_note(encoder, text) == told.format("what the encoder makes of emoji alone is uncertain")
        assert query_note(encoder, f"a dog {text}") is None


def test_encoders_of_many_languages_declare_it() -> None:
    many = {name for name, model_type in MODEL_TYPES.items() if model_type.other_languages}
    assert many == {"metaclip_2", "siglip2", "chinese_clip", "altclip"}


def test_the_list_holds_the_words_of_the_captions_of_classes() -> None:
    assert WORDS_FILE.read_text(encoding="utf-8").split() == words_of_captions()


def captions(shared: Path) -> list[str]:
    """Every English caption at hand, each once."""
    found: list[str] = []
    annotations = shared / "annotations"
    with open(annotations / "MSRVTT_JSFUSION_test.csv", encoding="utf-8", newline="") as file:
        found += [row["sentence"] for row in csv.DictReader(file)]
    for several in json.loads((annotations / "msvd_captions.json").read_text(encoding="utf-8")).values():
        found += several
    for split in ("test", "val"):
        found += [row["description"] for row in json.loads((annotations / f"didemo_{split}.json").read_text("utf-8"))]
    for video in json.loads((annotations / "activitynet_val_1.json").read_text(encoding="utf-8")).values():
        found += [sentence.strip() for sentence in video["sentences"]]
    found += json.loads((shared / "clips" / "panda" / "captions.json").read_text(encoding="utf-8")).values()
    return sorted({caption for caption in found if caption.strip()})


KINDS = ("seems to be no English", "knows no names", "reads no text", "reads no numbers", "hardly an effect")


@pytest.mark.slow
def test_few_english_captions_get_a_note(offline: Encoder, shared: Path) -> None:
    every = captions(shared)
    notes = [note for text in every if (note := query_note(offline, text)) is not None]
    counted = {kind: sum(kind in note for note in notes) for kind in KINDS}
    assert len(every) > 50_000
    assert sum(counted.values()) == len(notes), "a kind of note that is not counted here"
    assert max(counted.values()) < 0.005 * len(every), counted
